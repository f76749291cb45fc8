//! What the process keeps in memory while nobody asks it anything.
//!
//! Three things make up nearly all of that, and none of them goes away by itself:
//!
//! - Huge pages. The allocator asks for them, and of four an idle registry would use a tenth. They are refused before
//!   the allocator has touched its first page: what is huge once stays so.
//! - What the allocator holds. A block that another thread has freed comes back to its owner when the owner asks for
//!   memory again, and pages are returned to the system by whoever asks next. After a peak nobody asks.
//! - The program itself. The start reads the configuration, opens the index and makes keys, and has then touched two
//!   thirds of the program, most of which no request goes through. The kernel keeps those pages in its cache, and
//!   counts them to this process until somebody else is short of memory.
//!
//! So, when the process has worked and then comes to rest, the allocator's threads hand in what they don't use, and the
//! program's pages are let go. The next request takes back those that it needs, out of the kernel's cache: some two
//! hundred faults of a microsecond or less, once.

use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

/// How long after the start the first look is taken: what a start does in the background is over by then, as a rule.
const FIRST_LOOK: Duration = Duration::from_secs(1);

const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// A process that has used less CPU than this since the last look is at rest: a fifth of a percent.
const QUIET: Duration = Duration::from_millis(20);

/// What has been worked since the last time must be this much for it to be worth while: some hundred requests.
const WORTH_WHILE: Duration = Duration::from_millis(40);

/// How long a worker of the runtime is kept from taking a second of the tasks of which each is to get one.
const TASTE: Duration = Duration::from_millis(1);

/// Refuses huge pages, before anything is allocated. What is large here are files, and they are in the kernel's
/// pages, not in ours.
#[used]
#[expect(unsafe_code, reason = "main would be too late: the allocator has touched its first pages by then")]
#[unsafe(link_section = ".init_array.00001")]
static BEFORE_THE_ALLOCATOR: extern "C" fn() = use_small_pages;

extern "C" fn use_small_pages() {
    // Where it can't be done, it only costs memory.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives memory back whenever the process comes to rest, the start included.
pub(crate) async fn give_back_at_rest(stop: CancellationToken) {
    // The start is worth while, however little it took.
    let (mut given_back, mut seen) = (None, cpu_time());
    let mut wait = FIRST_LOOK;
    while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        let now = cpu_time();
        let is_worth_while = given_back.is_none_or(|then| now.saturating_sub(then) > WORTH_WHILE);
        if now.saturating_sub(seen) < QUIET && is_worth_while {
            collect_everywhere().await;
            // Nothing depends on it: where it can't be done, the pages stay.
            let _ = tokio::task::spawn_blocking(let_go_of_the_program).await;
            given_back = Some(cpu_time());
        }
        seen = cpu_time();
        wait = BETWEEN_LOOKS;
    }
}

/// What all threads have used until now.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// Has each worker of the runtime hand in what it doesn't use: only the owner of a heap can.
async fn collect_everywhere() {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let collect = async || {
        mi_collect(true);
        // At rest there is nothing to be held up; meanwhile another worker takes the next one.
        std::thread::sleep(TASTE);
    };
    let tasks: Vec<_> = (0..workers).map(|_| tokio::spawn(collect())).collect();
    for task in tasks {
        let _ = task.await;
    }
}

#[expect(unsafe_code, reason = "the allocator has it; it takes no pointer, and any thread may call it")]
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Lets go of the pages of the program's file that are in memory. They are clean: the kernel gives them again when
/// they are asked for.
fn let_go_of_the_program() -> std::io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let smaps = std::fs::read_to_string("/proc/self/smaps")?;
    for range in untouched_parts(&smaps, &program.to_string_lossy()) {
        let (start, length) = (std::ptr::without_provenance_mut(range.start), range.len());
        #[expect(
            unsafe_code,
            reason = "a mapping of a file that can't be written and of which no page is our own: \
                      the next access reads the same bytes from the file"
        )]
        // An error leaves the pages where they are.
        let _ = unsafe { madvise(start, length, Advice::LinuxDontNeed) };
    }
    Ok(())
}

/// The mappings of the program's file in which nothing is this process's own, from the text of `smaps`.
///
/// A mapping that is written at the start and protected then (`.data.rel.ro`) looks as if it could be read again from
/// the file. It can't: what was written in it is anonymous memory, and the kernel counts that.
fn untouched_parts(smaps: &str, program: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut candidate = None;
    let (mut anonymous, mut swapped) = (false, false);
    for line in smaps.lines() {
        if let Some(range) = heading(line) {
            let mut words = line.split_ascii_whitespace().skip(1);
            let is_fixed = matches!(words.next(), Some("r-xp" | "r--p"));
            // The path is the rest of the line, and may hold spaces.
            let is_of_program = line.strip_suffix(program).is_some_and(|rest| rest.ends_with(' '));
            candidate = (is_fixed && is_of_program).then_some(range);
            (anonymous, swapped) = (false, false);
        } else if let Some(rest) = line.strip_prefix("Anonymous:") {
            anonymous = rest.trim() == "0 kB";
        } else if let Some(rest) = line.strip_prefix("Swap:") {
            swapped = rest.trim() == "0 kB";
        }
        // Both must be said: a kernel that doesn't count them leaves us in doubt.
        if anonymous
            && swapped
            && let Some(range) = candidate.take()
        {
            parts.push(range);
        }
    }
    parts
}

/// The addresses at the beginning of a mapping's first line.
fn heading(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests;
