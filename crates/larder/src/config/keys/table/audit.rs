//! `audit`, Larder's own: the log of who did what.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("audit", Section, "", "A log of who did what, from where and by which rule: one line of JSON for each push, deletion, pull, login and token."),
    own("audit.path", Text, "", "The file, with an absolute path; its directory must be there. Without it there is no audit log."),
    own("audit.pulls", Boolean, "true", "Whether pulls, lists and tokens for `anonymous` are in it when they are allowed; what is denied always is."),
    own("audit.required", Boolean, "false", "Whether pushes and deletions are refused while it can't be written."),
    own("audit.maxbytes", Size, "64MiB", "A longer file is put aside as `PATH.000001` and so on; 0 for never, where another program rotates."),
    own("audit.maxfiles", Integer, "32", "How many of these are kept; 0 for all."),
];
