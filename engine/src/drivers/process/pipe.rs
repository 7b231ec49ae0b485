//! A child process that exchanges lines. Neither side can block the simulation for ever: one helper
//! thread writes to its stdin, another reads its stdout.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// Longest line that is read, bytes: more is no action.
const LONGEST_LINE: u64 = 1 << 20;
/// Lines that may wait to be asked for.
const WAITING_LINES: usize = 16;
/// How long a program that closed its output may take to leave before it is said to be alive.
const LEAVING: Duration = Duration::from_millis(300);

/// Shortest time that a new program is given to show that it answers too often.
const SHORTEST_PROBATION: Duration = Duration::from_millis(20);

/// Whether a program has shown that it answers steps alone. One that answers the `reset` too always has one
/// more line to come, as long after the last as it takes to answer: slower than the simulation, it would never be
/// seen to have written it when the next line is sent. So once, after two answers, twice the time between
/// them is waited for a third.
enum Probation {
    NotAsked,
    Answered(Instant),
    Wait(Duration),
    Passed,
}

impl Probation {
    /// How long to wait for a line that should not come before the next is sent.
    fn wait(&mut self) -> Duration {
        match *self {
            Self::Wait(time) => {
                *self = Self::Passed;
                time
            }
            _ => Duration::ZERO,
        }
    }

    /// Notes an answer.
    fn answered(&mut self) {
        match *self {
            Self::NotAsked => *self = Self::Answered(Instant::now()),
            Self::Answered(first) => *self = Self::Wait((2 * first.elapsed()).max(SHORTEST_PROBATION)),
            Self::Wait(_) | Self::Passed => {}
        }
    }
}

/// Where a program was looked for.
fn looked_for(program: &str) -> String {
    if program.starts_with('/') {
        return String::new();
    }
    if !program.contains('/') {
        return " (looked for in PATH)".to_owned();
    }
    let here = std::env::current_dir().map(|here| format!(", {}", here.display())).unwrap_or_default();
    format!(" (looked for from the current folder{here})")
}

pub(super) struct Pipe {
    child: Child,
    probation: Probation,
    to_child: Sender<String>,
    from_child: Receiver<Result<String, String>>,
}

impl Pipe {
    pub fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("no program is given")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot be started{}: {error}", looked_for(program)))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("has no pipes".into());
        };
        let (to_child, lines) = channel();
        let (answers, from_child) = sync_channel(WAITING_LINES);
        let pipe = Self { child, probation: Probation::NotAsked, to_child, from_child };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(work)
                .map_err(|error| format!("no helper thread: {error}"))
        };
        spawn("policy-stdin", Box::new(move || write_lines(stdin, &lines)))?;
        spawn("policy-stdout", Box::new(move || read_lines(stdout, &answers)))?;
        Ok(pipe)
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) -> Result<(), String> {
        self.to_child.send(format!("{line}\n")).map_err(|_| self.obituary())
    }

    /// The next line that it writes.
    pub fn receive(&mut self, timeout: Duration) -> Result<String, String> {
        match self.from_child.recv_timeout(timeout) {
            Ok(Ok(line)) => {
                self.probation.answered();
                Ok(line.trim_end().to_owned())
            }
            Ok(Err(problem)) => Err(problem),
            Err(RecvTimeoutError::Timeout) => Err(format!("gave no answer within {} s", timeout.as_secs_f64())),
            Err(RecvTimeoutError::Disconnected) => Err(self.obituary()),
        }
    }

    /// A line that it has written and nothing asked for. Once, it is waited for: never longer than `most`.
    pub fn unasked(&mut self, most: Duration) -> Option<String> {
        let wait = self.probation.wait().min(most);
        // What ended or failed shows when it is asked the next time.
        self.from_child.recv_timeout(wait).ok()?.ok().map(|line| line.trim_end().to_owned())
    }

    /// Why nothing more comes.
    fn obituary(&mut self) -> String {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("ended in the middle of an episode ({})", describe(status)),
                Ok(None) if begin.elapsed() < LEAVING => std::thread::sleep(Duration::from_millis(2)),
                _ => return "closed its output in the middle of an episode".into(),
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "killed by a signal".into(),
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It may have left already: then there is nothing to kill, and waiting only collects it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_lines(mut stdin: ChildStdin, lines: &Receiver<String>) {
    for line in lines {
        // A broken pipe shows on the reading side, with the program's exit code.
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: ChildStdout, answers: &SyncSender<Result<String, String>>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes);
        let answer = match read {
            Ok(0) | Err(_) => return,
            Ok(_) if bytes.len() as u64 >= LONGEST_LINE => {
                Err(format!("wrote a line of more than {LONGEST_LINE} bytes"))
            }
            Ok(_) => String::from_utf8(bytes).map_err(|_| "wrote a line that is not UTF-8".to_owned()),
        };
        let blank = answer.as_ref().is_ok_and(|line| line.trim().is_empty());
        let bad = answer.is_err();
        if !blank && (answers.send(answer).is_err() || bad) {
            return;
        }
    }
}
