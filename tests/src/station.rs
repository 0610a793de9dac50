//! A station on the wire that says and hears exactly what the test wants: `station.c` in a network namespace.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::frame::hex;
use crate::{NetNs, StateDir};

/// The compiled program, in a directory that goes with this value.
pub struct Program {
    path: PathBuf,
    _dir: StateDir,
}

impl Program {
    /// Compiles it. The source is in this program, so that it is found wherever the test runs.
    pub fn compile() -> Self {
        let dir = StateDir::new();
        let (source, path) = (dir.path().join("station.c"), dir.path().join("station"));
        std::fs::write(&source, include_str!("station.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-o"]).arg(&path).arg(&source);
        let output = compiler.output().expect("a C compiler, cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Program { path, _dir: dir }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A running program; it ends with this value.
pub struct Station {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Station {
    /// Starts one on a link of a namespace.
    pub fn start(program: &Program, namespace: &NetNs, link: &str) -> Self {
        let mut command = Command::new(program.path());
        command.arg(link).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A program is born in the namespace of the thread that starts it.
        let mut child = namespace.run(|| command.spawn().unwrap()).unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut station = Station { child, to, from };
        assert_eq!(station.answer(), "ready");
        station
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the station has ended; its words are above");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.to.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.answer()
    }

    fn number(&mut self, line: &str) -> u64 {
        self.ask(line).parse().unwrap()
    }

    /// Sends a frame so many times.
    pub fn send(&mut self, count: u32, frame: &[u8]) {
        assert_eq!(self.ask(&format!("send {count} {}", hex(frame))), "ok");
    }

    /// Sends each of these once, at most a hundred at a time.
    pub fn send_all(&mut self, frames: &[Vec<u8>]) {
        for answer in self.ask_all("send 1", frames) {
            assert_eq!(answer, "ok");
        }
    }

    /// How often exactly each of these has arrived, at most a hundred at a time.
    pub fn count_all(&mut self, frames: &[Vec<u8>]) -> Vec<u64> {
        self.ask_all("count", frames).iter().map(|answer| answer.parse().unwrap()).collect()
    }

    /// The answers to as many questions, put at once: a pipe has room for them.
    fn ask_all(&mut self, what: &str, frames: &[Vec<u8>]) -> Vec<String> {
        let mut answers = Vec::new();
        for some in frames.chunks(10) {
            let lines: String = some.iter().map(|frame| format!("{what} {}\n", hex(frame))).collect();
            self.to.write_all(lines.as_bytes()).unwrap();
            answers.extend(some.iter().map(|_| self.answer()));
        }
        answers
    }

    /// Sends a frame so many times at once: the processor's time that it took, in nanoseconds. It is that of this program, and of all
    /// that the kernel does with the frames on the way to the other end of the cables, since that happens where they are sent.
    pub fn burst(&mut self, count: u32, frame: &[u8]) -> u64 {
        self.number(&format!("burst {count} {}", hex(frame)))
    }

    /// Forgets what has arrived.
    pub fn forget(&mut self) {
        assert_eq!(self.ask("forget"), "ok");
    }

    /// How often exactly this frame has arrived.
    pub fn count(&mut self, frame: &[u8]) -> u64 {
        self.number(&format!("count {}", hex(frame)))
    }

    /// Waits until exactly this frame arrives; whether it has.
    pub fn wait(&mut self, patience: Duration, frame: &[u8]) -> bool {
        self.number(&format!("wait {} {}", patience.as_millis(), hex(frame))) > 0
    }

    /// Sends a frame again and again until another station has it: a port forwards a moment after it has come up.
    #[track_caller]
    pub fn until_heard(&mut self, by: &mut Station, patience: Duration, frame: &[u8]) {
        let end = Instant::now() + patience;
        loop {
            self.send(1, frame);
            if by.wait(Duration::from_millis(20), frame) {
                return;
            }
            assert!(Instant::now() < end, "the frame arrives: {}", hex(frame));
        }
    }

    /// How many frames have arrived that could not be counted.
    pub fn lost(&mut self) -> u64 {
        self.number("lost")
    }

    /// Sends these frames in turn until [`quiet`](Self::quiet).
    pub fn flood(&mut self, frames: &[Vec<u8>]) {
        let all: Vec<String> = frames.iter().map(|f| hex(f)).collect();
        assert_eq!(self.ask(&format!("flood {}", all.join(" "))), "ok");
    }

    /// Ends a flood: how many frames were sent.
    pub fn quiet(&mut self) -> u64 {
        self.number("quiet")
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // It has nothing to tidy up. A test that fails has something more important to say than that this did.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
