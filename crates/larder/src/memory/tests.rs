use super::*;

const PROGRAM: &str = "/usr/local/bin/my larder";

/// A mapping as `smaps` shows it, shortened.
fn mapping(place: &str, mode: &str, path: &str, anonymous: u32, swapped: u32) -> String {
    format!(
        "{place} {mode} 00000000 fe:00 12345                      {path}\n\
         Size:               1024 kB\nRss:                 512 kB\nAnonymous:      {anonymous:8} kB\n\
         LazyFree:              0 kB\nSwap:           {swapped:8} kB\nSwapPss:               0 kB\n\
         VmFlags: rd ex mr mw me sd \n"
    )
}

#[test]
fn only_what_is_read_from_the_programs_file_and_was_never_written_is_let_go() {
    let smaps = [
        mapping("1000-3000", "r--p", PROGRAM, 0, 0),
        mapping("3000-9000", "r-xp", PROGRAM, 0, 0),
        // Relocated, then protected.
        mapping("9000-a000", "r--p", PROGRAM, 340, 0),
        mapping("a000-b000", "r--p", PROGRAM, 0, 4),
        mapping("b000-c000", "rw-p", PROGRAM, 0, 0),
        mapping("c000-d000", "r--s", PROGRAM, 0, 0),
        mapping("d000-e000", "r-xp", "/usr/lib/libc.so.6", 0, 0),
        mapping("e000-f000", "rw-p", "", 0, 0),
    ];
    assert_eq!(untouched_parts(&smaps.concat(), PROGRAM), [0x1000..0x3000, 0x3000..0x9000]);
}

#[test]
fn what_the_kernel_doesnt_count_is_left_alone() {
    let silent = mapping("3000-9000", "r-xp", PROGRAM, 0, 0).replace("Swap:", "Exchange:");
    let whole = mapping("9000-a000", "rw-p", PROGRAM, 0, 0);
    assert_eq!(untouched_parts(&format!("{silent}{whole}"), PROGRAM), []);
    assert_eq!(untouched_parts("nonsense\n- r-xp\n", PROGRAM), []);
}

#[test]
fn this_program_goes_on_after_it_was_let_go() {
    let before = untouched_parts_of_this_program();
    assert!(!before.is_empty());
    let_go_of_the_program().unwrap();
    assert_eq!(untouched_parts_of_this_program(), before);
}

fn untouched_parts_of_this_program() -> Vec<Range<usize>> {
    let program = std::env::current_exe().unwrap();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    untouched_parts(&smaps, program.to_str().unwrap())
}
