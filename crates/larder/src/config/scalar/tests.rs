use super::*;
use proptest::prelude::*;

#[test]
fn booleans_in_every_spelling_of_yaml_1_1() {
    for text in ["y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"] {
        assert_eq!(boolean(text), Some(true), "{text}");
    }
    for text in ["n", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"] {
        assert_eq!(boolean(text), Some(false), "{text}");
    }
    for text in ["", "1", "0", "tRUE", "yess", "enabled"] {
        assert_eq!(boolean(text), None, "{text}");
    }
}

#[test]
fn integers_as_yaml_v2_reads_them() {
    for (text, expected) in [
        ("0", Some(0)),
        ("1000", Some(1000)),
        ("-7", Some(-7)),
        ("+7", Some(7)),
        ("1_000", Some(1000)),
        ("0x1F", Some(31)),
        ("0o17", Some(15)),
        ("017", Some(15)),
        ("0b101", Some(5)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("08", None),
        ("0x", None),
        ("0x-1", None),
        ("--1", None),
        ("", None),
        ("-", None),
        ("1.0", None),
        ("ten", None),
    ] {
        assert_eq!(integer(text), expected, "{text}");
    }
}

#[test]
fn durations_as_go_reads_them() {
    const SECOND: i64 = 1_000_000_000;
    for (text, expected) in [
        ("10s", Some(10 * SECOND)),
        ("168h", Some(168 * 3600 * SECOND)),
        ("1h30m", Some(5400 * SECOND)),
        ("1.5h", Some(5400 * SECOND)),
        (".5s", Some(SECOND / 2)),
        ("5.s", Some(5 * SECOND)),
        ("1h2m3s4ms5us6ns", Some(3_723_004_005_006)),
        ("3µs", Some(3_000)),
        ("3μs", Some(3_000)),
        ("-5m", Some(-300 * SECOND)),
        ("+5s", Some(5 * SECOND)),
        ("0", Some(0)),
        // A bare number is nanoseconds: the trap that `draintimeout: 30` falls into.
        ("30", Some(30)),
        ("0.3333333333333333333333h", Some(1_199_999_999_999)),
        ("7d", None),
        ("10 s", None),
        ("10S", None),
        ("s", None),
        (".s", None),
        ("1.2.3s", None),
        ("10s5", None),
        ("", None),
        ("-", None),
        ("99999999999h", None),
        ("99999999999999999999999999999999999999999999h", None),
    ] {
        assert_eq!(duration_nanoseconds(text), expected, "{text}");
    }
}

#[test]
fn sizes_are_powers_of_1000_without_an_i_and_of_1024_with_one() {
    for (text, expected) in [
        ("0", 0),
        ("-7", -7),
        ("1_000", 1000),
        ("0x1B", 27),
        ("5B", 5),
        ("5 b", 5),
        ("1kB", 1_000),
        ("1KB", 1_000),
        ("1kb", 1_000),
        ("1K", 1_000),
        ("1KiB", 1_024),
        ("1Ki", 1_024),
        ("500M", 500_000_000),
        ("500MB", 500_000_000),
        ("500 mib", 524_288_000),
        ("10G", 10_000_000_000),
        ("10GB", 10_000_000_000),
        ("10gb", 10_000_000_000),
        ("10Gi", 10_737_418_240),
        ("10GiB", 10_737_418_240),
        ("1.5TB", 1_500_000_000_000),
        ("1.5TiB", 1_649_267_441_664),
        (".5KiB", 512),
        ("2PB", 2_000_000_000_000_000),
        ("1PiB", 1_125_899_906_842_624),
        ("0.0009kB", 0),
        ("0.1GiB", 107_374_182),
        ("8191PiB", 9_222_246_136_947_933_184),
    ] {
        assert_eq!(size(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_size_says_why() {
    for text in ["", "ten", "GB", ".GB", "1.5", "1.2.3GB", "-5GB", "+5GB", "08", "9223372036854775808"] {
        assert_eq!(size(text), Err(NoSize::NoNumber), "{text}");
    }
    for (text, unit) in
        [("50GX", "GX"), ("1e9", "e9"), ("5EB", "EB"), ("5i", "i"), ("5GBB", "GBB"), ("5MBs", "MBs")]
    {
        assert_eq!(size(text), Err(NoSize::UnknownUnit(unit.to_owned())), "{text}");
    }
    for (text, unit, meant) in [("100Mb", "Mb", "MB"), ("1Kb", "Kb", "kB"), ("1 Gib", "Gib", "GiB")] {
        assert_eq!(size(text), Err(NoSize::Bits(unit.to_owned(), meant)), "{text}");
    }
    for text in ["8192PiB", "99999999999999999999999999999999999999999999B", "9223372036854775808B"] {
        assert_eq!(size(text), Err(NoSize::TooLarge), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|[-+0-9a-fxob_.µsmhnukgtibKMGTPB ]{0,40}") {
        let _ = (boolean(&text), integer(&text), duration_nanoseconds(&text), size(&text));
    }

    #[test]
    fn every_number_survives(number: i64) {
        prop_assert_eq!(integer(&number.to_string()), Some(number));
        prop_assert_eq!(size(&number.to_string()), Ok(number));
    }
}
