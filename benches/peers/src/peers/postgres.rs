//! `PostgreSQL` over a Unix socket, where one is installed: a cluster of its own, made for the run.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Condvar, Mutex, PoisonError};

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Config, NoTls, Statement};

use crate::Result;
use crate::store::{Kind, Mode, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "postgres",
    version: Version::Program(version),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight in its blocking client"),
        (&[Work::Interval], "was measured in one relaxed mode"),
        (&[Work::Follow], "was not measured with LISTEN"),
        (&[Work::Conditional], "has no tags; a table of them would be another design"),
        (&[Work::MemoryOpen, Work::MemoryServing], "is many processes that share memory"),
    ],
    notes: &[
        "a server of its own, over a Unix socket, with its standard settings; 16 connections",
        "gives less: numbers of a sequence have gaps, and are seen out of order while commits run",
        "relaxed: `synchronous_commit=off`",
        "open: the start of the server; after a kill: of all of its processes",
    ],
    after_kill: kill_server,
};

const CONNECTIONS: usize = 16;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position BIGSERIAL PRIMARY KEY, stream TEXT NOT NULL, version BIGINT NOT NULL,
        category TEXT NOT NULL, type TEXT NOT NULL, id BYTEA NOT NULL, payload BYTEA NOT NULL,
        UNIQUE (stream, version));
    CREATE INDEX IF NOT EXISTS by_category ON events (category, position);
    CREATE INDEX IF NOT EXISTS by_type ON events (type, position);";
const INSERT: &str = "
    INSERT INTO events (stream, version, category, type, id, payload)
    SELECT $1, (SELECT coalesce(max(version), 0) + 1 FROM events WHERE stream = $1),
        $2, $3, $4, $5";

/// Whether there is one to be measured.
pub fn is_installed() -> bool {
    programs().is_some()
}

fn programs() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").ok();
    places.extend(debian.into_iter().flatten().flatten().map(|found| found.path().join("bin")));
    places.into_iter().find(|place| place.join("initdb").is_file())
}

fn version() -> String {
    let asked = program("postgres").and_then(|mut program| Ok(program.arg("-V").output()?));
    asked.map_or("not installed".into(), |done| String::from_utf8_lossy(&done.stdout).trim().into())
}

fn program(name: &str) -> Result<Command> {
    let place = programs().ok_or("PostgreSQL is not installed")?;
    Ok(Command::new(place.join(name)))
}

/// The server refuses to run as root: then it runs as the user `postgres`, or `nobody`.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut words = line.split(':').skip(2);
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

fn run(name: &str, dir: &Path, args: &[&str]) -> Result<Output> {
    let mut command = program(name)?;
    command.arg("-D").arg(dir.join("data")).args(args).current_dir(dir);
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    let done = command.output()?;
    if done.status.success() {
        return Ok(done);
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr)).into())
}

struct Postgres {
    dir: PathBuf,
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

struct Connection {
    client: Client,
    insert: Statement,
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    if !dir.join("data").is_dir() {
        make(dir)?;
    }
    let socket = dir.canonicalize()?;
    let options = format!("-c listen_addresses= -c unix_socket_directories={}", socket.display());
    run("pg_ctl", dir, &["-w", "-s", "-l", "log", "-o", &options, "start"])?;
    let mut config = Config::new();
    config.host_path(&socket).user("bench").dbname("postgres");
    let connect = |_| -> Result<Connection> {
        let mut client = config.connect(NoTls)?;
        if setup.mode != Mode::Sync {
            client.batch_execute("SET synchronous_commit = off")?;
        }
        let insert = client.prepare(INSERT)?;
        Ok(Connection { client, insert })
    };
    config.connect(NoTls)?.batch_execute(SCHEMA)?;
    let idle = Mutex::new((0..CONNECTIONS).map(connect).collect::<Result<_>>()?);
    Ok(Box::new(Postgres { dir: dir.to_owned(), idle, returned: Condvar::new() }))
}

/// A new cluster, that its user can reach.
fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    if let Some((user, group)) = user() {
        std::os::unix::fs::chown(dir, Some(user), Some(group))?;
        if let Some(parent) = dir.parent() {
            std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    run("initdb", dir, &["-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"])?;
    Ok(())
}

/// What `SIGKILL` of all processes leaves: an immediate stop writes nothing.
fn kill_server(dir: &Path) {
    if dir.join("data/postmaster.pid").exists() {
        // It may have ended by itself.
        let _ = run("pg_ctl", dir, &["-w", "-s", "-m", "immediate", "stop"]);
    }
}

impl Postgres {
    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = loop {
            if let Some(connection) = idle.pop() {
                break connection;
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        };
        drop(idle);
        let done = work(&mut connection);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        self.returned.notify_one();
        done
    }

    fn read(&self, condition: &str, key: &[&str], tally: &mut Tally) -> Result<()> {
        let sql = format!("SELECT stream, type, payload FROM events {condition}");
        self.with(|connection| {
            let mut rows = connection.client.query_raw(&sql, key)?;
            while let Some(row) = rows.next()? {
                tally.see(row.get(0), row.get(1), row.get(2));
            }
            Ok(())
        })
    }
}

impl Store for Postgres {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        self.with(|connection| {
            let Connection { client, insert } = connection;
            if let [event] = events {
                let id = event.id.as_slice();
                let (category, payload) = (event.category(), event.payload);
                client.execute(
                    insert,
                    &[&event.stream, &category, &event.event_type, &id, &payload],
                )?;
                return Ok(());
            }
            let mut transaction = client.transaction()?;
            for event in events {
                let id = event.id.as_slice();
                let (category, payload) = (event.category(), event.payload);
                transaction.execute(
                    insert,
                    &[&event.stream, &category, &event.event_type, &id, &payload],
                )?;
            }
            Ok(transaction.commit()?)
        })
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        self.read("WHERE stream = $1 ORDER BY version", &[stream], tally)
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.read("ORDER BY position", &[], tally)
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        self.read("WHERE category = $1 ORDER BY position", &[category], tally)
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        self.read("WHERE type = $1 ORDER BY position", &[event_type], tally)
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.idle.into_inner().unwrap_or_else(PoisonError::into_inner));
        run("pg_ctl", &self.dir, &["-w", "-s", "-m", "fast", "stop"])?;
        Ok(())
    }
}
