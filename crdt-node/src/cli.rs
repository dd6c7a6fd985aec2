//! Commands and flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use crdt_node::security::Security;
use crdt_relayer::address::PlainText;

/// Keeps one transaction history with people you need not trust.
#[derive(Debug, Parser)]
#[command(name = "crdt-node", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

const EXAMPLES: &str = "Examples:
  crdt-node demo                          see nodes converge, one of them lying
  crdt-node init alice                    make a key
  crdt-node run alice                     connect, then type: pay bob 12.50 rent
  crdt-node run alice < lines.txt         record every line, end when all is relayed
  crdt-node init bob --peer wss://bob.example:9000/websocket
                                          a node that dials another one, without a relay
  crdt-node verify alice                  check every hash, signature and rule again
  crdt-node evidence alice                who signed two different ops at one place";

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The node's folder [default: the user's data folder + /crdt-node/NAME]; not of demo,
    /// completions, man.
    #[arg(long, global = true, value_name = "DIR", env = "CRDT_HOME")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON: one object, or one per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key, a configuration and an empty log.
    Init(Init),
    /// Connect, show what happens, record what is typed or piped.
    Run(Run),
    /// Record transactions and end when a relay or peer has stored them.
    Send(Send),
    /// Print the entries in log order; works beside a running node.
    Log(Log),
    /// Print rooms, counts and digests; works beside a running node.
    Status(Name),
    /// Print the relays and peers of a running node and how each link is.
    Peers(Name),
    /// Check every hash, signature, link and rule of a node's log, an export or an evidence file.
    Verify(Verify),
    /// Proofs that an author signed two different ops at one place: list, show, export.
    Evidence(Evidence),
    /// Write the signed ops, one a line, dependencies first: the same bytes on every node.
    Export(Export),
    /// Look for what would keep a node from working; works beside a running node.
    Doctor(Doctor),
    /// Take the ops of a file into the log, each checked like one from a peer; works beside a
    /// running node, which passes them on at once.
    ///
    /// The file is what `export` of any node wrote. Taking it again changes nothing. Lines that are
    /// damaged or forged are named and left out, and so are ops of rooms that the node does not
    /// take part in, unless --room names them. Ops that depend on some that are neither in the log
    /// nor in the file wait in a running node until it stops, else they are left out.
    Import(Import),
    /// Connect to one or two relays or nodes, exchange ops until all hold the same, and end.
    ///
    /// Nothing is signed, so no passphrase is needed. With two routes, what one has and the other
    /// lacks passes through this node. Not beside a running node: that is in sync by itself.
    Sync(Sync),
    /// About the node's key.
    #[command(subcommand)]
    Key(Key),
    /// Run a relay, three honest nodes and a lying one; see them converge.
    Demo(Demo),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages.
    Man {
        /// The folder to write them to; made if it is not there.
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
}

/// An address to listen on.
fn listening(text: &str) -> Result<SocketAddr, String> {
    let expected = "is not an IP address with a port, as 127.0.0.1:8080; names are not looked up";
    text.parse().map_err(|_| format!("{text:?} {expected}"))
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The node.
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A name of your choice; others see only the key.
    pub(crate) name: String,
    /// Encrypt the key with a passphrase asked for on the terminal.
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) passphrase: bool,
    /// Encrypt the key with the first line of a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Relay to connect to; repeatable [default: `ws://127.0.0.1:8080/websocket`, or none if
    /// --peer or --listen is given].
    #[arg(long, value_name = "URL")]
    pub(crate) relay: Vec<String>,
    /// Node to connect to directly; repeatable.
    #[arg(long, value_name = "URL")]
    pub(crate) peer: Vec<String>,
    /// Address to accept other nodes on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = listening)]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) certificate: Certificate,
    /// Authorities to trust besides the system's when wss:// is dialled (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Allow plain text to and from other machines.
    #[arg(long)]
    pub(crate) insecure_plain: bool,
    /// Room to take part in; repeatable [default: main].
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Vec<String>,
}

/// What is encrypted with on the address that others connect to.
#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// Certificate chain (PEM), to encrypt what --listen accepts.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// How others are reached.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Authorities to trust besides the system's when wss:// is dialled (PEM).
    #[arg(long, value_name = "FILE", env = "CRDT_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Allow plain text to and from other machines, where a tunnel or a network of your own keeps
    /// others from reading it.
    #[arg(long)]
    insecure_plain: bool,
}

impl Reach {
    /// What these flags say.
    pub(crate) fn security(&self) -> Security {
        let plain = PlainText::allowed(self.insecure_plain);
        Security { ca_file: self.ca_file.clone(), plain }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Relay to connect to instead of the configured ones; repeatable.
    #[arg(long, value_name = "URL")]
    pub(crate) relay: Vec<String>,
    /// Connect to no relay, whatever is configured.
    #[arg(long, conflicts_with = "relay")]
    pub(crate) no_relay: bool,
    /// Node to connect to directly, instead of the configured ones; repeatable.
    #[arg(long, value_name = "URL")]
    pub(crate) peer: Vec<String>,
    /// Address to accept other nodes on, instead of the configured one; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = listening)]
    pub(crate) listen: Option<SocketAddr>,
    /// Let in only nodes that prove that they have this key, instead of the configured ones;
    /// repeatable, needs --listen.
    #[arg(long, value_name = "HEX")]
    pub(crate) allow: Vec<String>,
    #[command(flatten)]
    pub(crate) certificate: Certificate,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Read the key's passphrase from the first line of a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Sign at once, even if the store may be older than what the key has signed. If it is,
    /// everybody can prove that you signed two different ops.
    #[arg(long)]
    pub(crate) trust_store: bool,
    /// Seconds to wait, at the end of input, for relays and peers.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The node.
    pub(crate) name: String,
    /// Room to take part in, besides those kept already; repeatable, lines go to the first.
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Vec<String>,
    /// Stay at the end of input, until SIGTERM.
    #[arg(long)]
    pub(crate) headless: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The node.
    pub(crate) name: String,
    /// Transactions, as typed at the console; `-` or none reads lines from standard input.
    #[arg(value_name = "TX")]
    pub(crate) transactions: Vec<String>,
    /// Room to record them in [default: the first configured].
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The node.
    pub(crate) name: String,
    /// Room [default: the first configured].
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    /// Only the last so many entries.
    #[arg(short = 'n', value_name = "N")]
    pub(crate) last: Option<usize>,
    /// Only entries by this key.
    #[arg(long, value_name = "HEX")]
    pub(crate) author: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A node, an exported file, or an evidence file.
    #[arg(value_name = "NAME|FILE")]
    pub(crate) subject: String,
    /// Accept equivocations that are on record.
    #[arg(long)]
    pub(crate) allow_forks: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Evidence {
    /// The node.
    pub(crate) name: String,
    #[command(subcommand)]
    pub(crate) what: Option<EvidenceCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// One line for each; the default.
    List,
    /// Both ops side by side.
    Show {
        /// Its name, or the first digits of its id.
        id: String,
    },
    /// Write the two signed heads: a file that anybody can verify, without the room.
    Export {
        /// Its name, or the first digits of its id.
        id: String,
        /// File to write; an existing one is kept [default: standard output].
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The node.
    pub(crate) name: String,
    /// Room [default: the first configured].
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    /// File to write; an existing one is kept [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The node.
    pub(crate) name: String,
    /// Mend what can be mended safely: permissions of the home and of the key file.
    #[arg(long)]
    pub(crate) fix: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Open an encrypted key with the passphrase in the first line of a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The node.
    pub(crate) name: String,
    /// The file; `-` reads standard input.
    pub(crate) file: PathBuf,
    /// Room to take part in from now on, besides those kept already; repeatable.
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// The node.
    pub(crate) name: String,
    /// Address of a relay or a node, such as `ws://127.0.0.1:8080/websocket`.
    #[arg(value_name = "ROUTE", required = true, num_args = 1..=2)]
    pub(crate) routes: Vec<String>,
    /// Only this room; it is taken part in from now on [default: all rooms of the node].
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Seconds after which it ends though not all hold the same.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
    /// Only compare: say how many ops would be sent and received, and move none.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Print the public key.
    Show {
        /// The node.
        name: String,
        /// As PEM, for openssl.
        #[arg(long)]
        public_pem: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep everything running until Ctrl-C, and the folder with the nodes' homes.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Chooses the keys.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
}
