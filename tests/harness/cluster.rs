//! A relayer and nodes in a folder of their own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Process};

/// A websocket where nobody listens.
pub const NOWHERE: &str = "ws://127.0.0.1:1/websocket";

/// A relayer's and some nodes' folders, and how to start each.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    /// The relayer's address, once it has run.
    address: OnceLock<String>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: TempDir::with_prefix("crdt-test-").unwrap(), address: OnceLock::new() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the relayer: the first time on a free port, later on the same one.
    pub fn relayer(&self) -> Process {
        self.listening(Process::start("crdt-relayer", self.relayer_arguments()))
    }

    /// Starts the relayer as [`Cluster::relayer`] does, but below `strace` with these options.
    pub fn relayer_with_faults(&self, faults: &[&OsStr]) -> Process {
        let mut command = process::below_strace("crdt-relayer", faults);
        command.args(self.relayer_arguments());
        self.listening(Process::spawn(command))
    }

    fn relayer_arguments(&self) -> [OsString; 5] {
        let listen = self.address.get().map_or("127.0.0.1:0", String::as_str);
        let data = self.path().join("relayer");
        ["--listen".into(), listen.into(), "--data".into(), data.into(), "--json".into()]
    }

    fn listening(&self, mut relayer: Process) -> Process {
        let ready = relayer.event("ready");
        self.address.get_or_init(|| ready["addr"].as_str().unwrap().to_owned());
        relayer
    }

    /// Starts another relayer with these arguments, with a folder of its own, on a free port.
    /// Returns its websocket too.
    pub fn relayer_with(&self, folder: &str, more: &[&str]) -> (Process, String) {
        self.relayer_on("127.0.0.1:0", folder, more)
    }

    /// The same on an address.
    pub fn relayer_on(&self, listen: &str, folder: &str, more: &[&str]) -> (Process, String) {
        let data = self.path().join(folder).into_os_string();
        let arguments = ["--listen".into(), listen.into(), "--data".into(), data, "--json".into()];
        let arguments = arguments.into_iter().chain(more.iter().map(OsString::from));
        let mut relayer = Process::start("crdt-relayer", arguments);
        let ready = relayer.event("ready");
        let url = format!("ws://{}/websocket", ready["addr"].as_str().unwrap());
        (relayer, url)
    }

    /// The relayer's websocket.
    pub fn url(&self) -> String {
        format!("ws://{}/websocket", self.address.get().expect("the relayer has run"))
    }

    /// A node's home.
    pub fn home(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Makes a node. Returns its author.
    pub fn init(&self, name: &str) -> String {
        let made = self.json("init", name, &[]);
        made["author"].as_str().unwrap().to_owned()
    }

    /// Copies a node's home, key and store included, to another machine: one that knows nothing of
    /// what the key has signed.
    pub fn carry(&self, name: &str, copy: &str) {
        self.copy(name, copy);
        std::fs::create_dir(self.machine_of(copy)).unwrap();
    }

    /// The state folder of the machine that all homes are on which were not carried elsewhere.
    pub fn machine(&self) -> PathBuf {
        self.path().join("machine")
    }

    fn machine_of(&self, home: &str) -> PathBuf {
        self.path().join(format!("machine of {home}"))
    }

    fn state(&self, home: &str) -> PathBuf {
        Some(self.machine_of(home)).filter(|own| own.exists()).unwrap_or_else(|| self.machine())
    }

    /// `crdt-node` on the machine of a home.
    pub fn program(&self, home: &str) -> Command {
        let mut program = process::command("crdt-node");
        program.env("XDG_STATE_HOME", self.state(home));
        program
    }

    /// Copies a node's home, key and store included, as a user does who makes a backup by hand.
    pub fn copy(&self, name: &str, copy: &str) {
        let (from, to) = (self.home(name), self.home(copy));
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(&from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        let config = to.join("config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let renamed = text.replace(&format!("name = \"{name}\""), &format!("name = \"{copy}\""));
        assert_ne!(renamed, text);
        std::fs::write(config, renamed).unwrap();
    }

    fn arguments(&self, command: &str, name: &str, more: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![command.into(), name.into(), "--home".into()];
        arguments.push(self.home(name).into());
        arguments.extend(more.iter().map(Into::into));
        arguments
    }

    /// Starts `run` for a node against the relayer, printing JSON.
    pub fn node(&self, name: &str, more: &[&str]) -> Process {
        self.node_at(name, &[&self.url()], more)
    }

    /// Starts `run` for a node against these relays, printing JSON.
    pub fn node_at(&self, name: &str, relays: &[&str], more: &[&str]) -> Process {
        let mut arguments = self.arguments("run", name, &["--json"]);
        for relay in relays {
            arguments.extend(["--relay".into(), relay.into()]);
        }
        arguments.extend(more.iter().map(Into::into));
        let mut program = self.program(name);
        program.args(arguments);
        Process::spawn(program)
    }

    /// Starts `run` for a node with these arguments and no other route than they name, printing
    /// JSON.
    pub fn node_by(&self, name: &str, more: &[&str]) -> Process {
        let relayless: &[&str] = if more.contains(&"--relay") { &[] } else { &["--no-relay"] };
        self.node_at(name, &[], &[relayless, more].concat())
    }

    /// Starts `run` for a node that accepts others on a free port, with these arguments and no
    /// relay. Returns its websocket too.
    pub fn listening_node(&self, name: &str, more: &[&str]) -> (Process, String) {
        let mut node = self.node_by(name, &[&["--listen", "127.0.0.1:0"], more].concat());
        let url = node.event("listening")["url"].as_str().unwrap().to_owned();
        (node, url)
    }

    /// Starts `run` for a node as [`Cluster::node`] does, but below `strace` with these options:
    /// they say which system call fails, or kills the node, and when.
    pub fn node_with_faults(&self, name: &str, faults: &[&OsStr]) -> Process {
        let url = self.url();
        let arguments = self.arguments("run", name, &["--json", "--relay", &url]);
        let mut command = process::below_strace("crdt-node", faults);
        command.env("XDG_STATE_HOME", self.state(name)).args(arguments);
        Process::spawn(command)
    }

    /// Runs a command of a node to its end.
    pub fn command(&self, command: &str, name: &str, more: &[&str]) -> std::process::Output {
        let mut program = self.program(name);
        program.args(self.arguments(command, name, more)).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub fn output(&self, command: &str, name: &str, more: &[&str]) -> String {
        let output = self.command(command, name, more);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command} {name}: {} {errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed, and returns the object it prints.
    pub fn json(&self, command: &str, name: &str, more: &[&str]) -> Value {
        let more: Vec<&str> = more.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.output(command, name, &more)).unwrap()
    }

    /// The first room of `status`.
    pub fn room(&self, name: &str) -> Value {
        self.json("status", name, &[])["rooms"][0].clone()
    }

    /// Texts of the notes in a node's log, in log order; of one author only if given.
    pub fn notes(&self, name: &str, author: Option<&str>) -> Vec<String> {
        let more: Vec<&str> = author.map_or_else(Vec::new, |author| vec!["--author", author]);
        let more: Vec<&str> = more.into_iter().chain(["--json"]).collect();
        self.output("log", name, &more)
            .lines()
            .map(|line| {
                let entry: Value = serde_json::from_str(line).unwrap();
                entry["data"]["text"].as_str().unwrap_or_default().to_owned()
            })
            .collect()
    }
}
