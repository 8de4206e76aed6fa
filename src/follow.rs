//! Judging a history while it is being written, for `check --follow` and `run --fail-fast`.
//!
//! Where the model allows it, operations are judged as they come and forgotten ([`checker::Stream`]). What cannot be followed
//! so (other models, workloads with checkers of their own, keys that became too hard) is judged by looking at the whole file
//! again and again: every prefix of a history is a legal history, so whatever is violated in it stays violated. A look
//! comes when the file has grown by half, so all looks together cost about twice the last one.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use checker::{Budget, RunOutcome, Spec, Standing, Stream, Verdict, decide_counted};
use history::{Event, Header, HistoryReader, ReadError, Torn};

use crate::judge::Judged;

/// How long the end of the file is left alone before it is read on.
const POLL: Duration = Duration::from_millis(20);
/// How long the judge waits for the next event before it judges what is there.
const TICK: Duration = Duration::from_millis(100);
/// Events that may wait for the judge.
const QUEUE_EVENTS: usize = 1 << 12;
/// Events before the first look at a whole file.
const FIRST_LOOK_EVENTS: u64 = 1_000;
/// The shortest time between two looks.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Between two looks passes so many times what the last one took.
const LOOK_SHARE: u32 = 3;

/// What to follow, and how.
pub(crate) struct Follow<'a> {
    /// The history.
    pub(crate) path: &'a Path,
    /// The model by which a history with this header is judged as it comes, if any.
    pub(crate) model: &'a dyn Fn(Option<&Header>) -> anyhow::Result<Option<Spec>>,
    /// What the judge may hold.
    pub(crate) budget: &'a Budget,
    /// Judges the lines that the file has by now.
    pub(crate) look: &'a dyn Fn() -> anyhow::Result<Judged>,
}

/// What is known while the file grows.
pub(crate) struct Progress {
    pub(crate) operations: u64,
    /// Nothing, when the model cannot be followed.
    pub(crate) standing: Option<Standing>,
}

/// What was seen until the end, or until a violation.
#[derive(Default)]
pub(crate) struct Followed {
    header: Option<Header>,
    stream: Option<Stream>,
    violation: Option<Judged>,
    pub(crate) torn: Option<Torn>,
}

impl Followed {
    /// Whether a violation was met.
    pub(crate) fn is_violation(&self) -> bool {
        self.violation.is_some()
            || self.stream.as_ref().is_some_and(|stream| stream.standing().broken.is_some())
    }

    /// Why a look at the whole file is needed; `None` when everything could be followed.
    pub(crate) fn left_out(&self) -> Option<String> {
        let Some(stream) = &self.stream else { return Some("this model cannot be followed".to_owned()) };
        let (keys, why) = stream.standing().lost?;
        let keys = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") };
        Some(format!("{keys} could not be followed ({why})"))
    }

    /// The violation that a look at the whole file showed.
    pub(crate) fn take_violation(&mut self) -> Option<Judged> {
        self.violation.take()
    }

    /// The verdict of the stream, unless it had to leave something out.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let stream = self.stream.as_ref()?;
        let verdict = decide_counted(self.header.as_ref(), stream.counts(), vec![stream.finding()]);
        let is_whole = stream.standing().lost.is_none() || verdict.outcome == RunOutcome::Violation;
        is_whole.then_some(verdict)
    }
}

impl Follow<'_> {
    /// Judges until a violation is met, or until the file is over: `is_over` is asked where it ends. Tells `tell` now and
    /// then how far it is.
    pub(crate) fn run(
        &self,
        is_over: impl FnMut() -> bool + Send + 'static,
        tell: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<Followed> {
        let news = read_in_background(self.path.to_owned(), is_over)?;
        let mut followed = Followed::default();
        let mut looks = Looks::default();
        let mut next_tick = Instant::now() + TICK;
        loop {
            match news.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(News::Header(header)) => {
                    let model = (self.model)(header.as_ref())?;
                    followed.stream = model.and_then(|model| Stream::new(model, self.budget));
                    followed.header = header;
                }
                Ok(News::Event(event, line)) => {
                    looks.events += 1;
                    looks.completed += u64::from(event.kind != history::EventKind::Invoke);
                    if let Some(stream) = &mut followed.stream {
                        stream.push(event).with_context(|| format!("{}:{line}", self.path.display()))?;
                    }
                }
                Ok(News::Torn(torn)) => followed.torn = torn,
                Ok(News::Failed(error)) => return Err(error.into()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.judge(&mut followed, &mut looks, tell)?;
                if followed.is_violation() {
                    return Ok(followed);
                }
            }
        }
        if let Some(stream) = &mut followed.stream {
            stream.end().with_context(|| self.path.display().to_string())?;
        }
        Ok(followed)
    }

    fn judge(
        &self,
        followed: &mut Followed,
        looks: &mut Looks,
        tell: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<()> {
        let standing = followed.stream.as_mut().map(|stream| {
            stream.judge();
            stream.standing()
        });
        let leaves_out = standing.as_ref().is_none_or(|standing| standing.lost.is_some());
        if leaves_out && looks.is_due() {
            let start = Instant::now();
            let judged = (self.look)()?;
            looks.done(start.elapsed());
            if judged.verdict.outcome == RunOutcome::Violation {
                followed.violation = Some(judged);
            }
        }
        tell(&Progress { operations: looks.completed, standing });
        Ok(())
    }
}

/// When the whole file is looked at.
struct Looks {
    events: u64,
    completed: u64,
    next_events: u64,
    next: Instant,
}

impl Default for Looks {
    fn default() -> Self {
        Self { events: 0, completed: 0, next_events: FIRST_LOOK_EVENTS, next: Instant::now() }
    }
}

impl Looks {
    fn is_due(&self) -> bool {
        self.events >= self.next_events && Instant::now() >= self.next
    }

    fn done(&mut self, took: Duration) {
        self.next_events = self.events + self.events / 2;
        self.next = Instant::now() + LOOK_PERIOD.max(took * LOOK_SHARE);
    }
}

/// What the reader reads.
enum News {
    Header(Option<Header>),
    /// An event, and its line.
    Event(Event, u64),
    /// The file is over; where it was torn.
    Torn(Option<Torn>),
    Failed(ReadError),
}

fn read_in_background(
    path: PathBuf,
    is_over: impl FnMut() -> bool + Send + 'static,
) -> anyhow::Result<Receiver<News>> {
    let (send, receive) = sync_channel(QUEUE_EVENTS);
    let read = move || {
        if let Err(error) = read_all(&path, is_over, &send) {
            // Without a receiver nobody asks any more.
            let _ = send.send(News::Failed(error));
        }
    };
    std::thread::Builder::new()
        .name("follow".into())
        .spawn(read)
        .context("cannot start the thread that reads the history")?;
    Ok(receive)
}

fn read_all(
    path: &Path,
    mut is_over: impl FnMut() -> bool + 'static,
    send: &SyncSender<News>,
) -> Result<(), ReadError> {
    let wait = move || {
        let goes_on = !is_over();
        if goes_on {
            std::thread::sleep(POLL);
        }
        goes_on
    };
    let mut reader = HistoryReader::follow(path, wait)?;
    let mut is_heard = send.send(News::Header(reader.header().cloned())).is_ok();
    while is_heard {
        let Some(event) = reader.next_event()? else { break };
        is_heard = send.send(News::Event(event, reader.line())).is_ok();
    }
    if is_heard {
        let _ = send.send(News::Torn(reader.torn().cloned()));
    }
    Ok(())
}
