//! Somebody who signs certificates, as an operator does with openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONFIG: &str = "[ca]
default_ca = own
[own]
database = index
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
";

/// How long a certificate is valid.
pub(super) enum Valid {
    /// From now on, for so many days.
    Days(u32),
    /// In January 2020 only.
    LongAgo,
}

/// An authority, in a folder of its own.
pub(super) struct Authority(PathBuf);

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{arguments:?}: {made:?}");
}

const KEY: [&str; 6] =
    ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

impl Authority {
    /// One of the folder's name.
    pub(super) fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("ca.cnf"), CONFIG).unwrap();
        fs::write(folder.join("index"), "").unwrap();
        let subject = format!("/CN={}", folder.file_name().unwrap().to_str().unwrap());
        let own = ["-x509", "-days", "30", "-subj", &subject];
        let files = ["-keyout", "ca.key", "-out", "ca.pem"];
        openssl(folder, &[&KEY[..], &own, &files].concat());
        Self(folder.to_owned())
    }

    /// Its own certificate.
    pub(super) fn file(&self) -> String {
        self.path("ca.pem")
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A server's certificate and key, in files of this name, for these subjects as
    /// `DNS:localhost,IP:127.0.0.1`; made anew if there are some.
    pub(super) fn sign(&self, name: &str, subjects: &str, valid: &Valid) -> (String, String) {
        let (cert, key, request) =
            (format!("{name}.pem"), format!("{name}.key"), format!("{name}.csr"));
        let subjects = format!("subjectAltName={subjects}");
        let server = ["-subj", "/CN=server", "-addext", "basicConstraints=critical,CA:FALSE"];
        let files = ["-addext", &subjects, "-keyout", &key, "-out", &request];
        openssl(&self.0, &[&KEY[..], &server, &files].concat());
        let days;
        let span = match valid {
            Valid::Days(count) => {
                days = count.to_string();
                vec!["-days", &days]
            }
            Valid::LongAgo => {
                vec!["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
            }
        };
        let own = ["ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
        let files = ["-notext", "-in", &request, "-out", &cert];
        openssl(&self.0, &[&own[..], &files, &span].concat());
        (self.path(&cert), self.path(&key))
    }
}
