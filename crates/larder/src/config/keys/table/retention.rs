//! `retention`, Larder's own: how long what was pushed is kept.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("retention", Section, "", "What of what was pushed goes by itself. Without rules nothing does; what was fetched isn't meant."),
    own("retention.every", Duration, "24h", "How often the rules are applied; `0` for only by `larder retention run`."),
    own("retention.rules", Sections, "", "A tag that rules are about goes when none of them keeps it; one that no rule is about stays. The order makes no difference."),
    own("retention.rules[].in", OneOrMore, "", "The repositories that are meant, such as `team/**`; all when left out."),
    own("retention.rules[].tags", OneOrMore, "", "The tags that are meant: names with `*` for any characters, such as `build-*`, or `X.Y.Z` for versions down to their third number. All when left out."),
    own("retention.rules[].keep", Sections, "", "A tag stays if one of these holds; of what stands in one item together, all must hold."),
    own("retention.rules[].keep[].newest", Integer, "", "It is among so many that were pushed last, of the tags of its repository that the rule is about."),
    own("retention.rules[].keep[].pushed", Duration, "", "It was pushed so lately."),
    own("retention.rules[].keep[].pulled", Duration, "", "It was pulled so lately, by its name or its digest."),
    own("retention.rules[].keep[].used", Duration, "", "It was pushed or pulled so lately: the later of the two counts."),
    own("retention.rules[].keep[].tags", OneOrMore, "", "Its name fits one of these."),
    own("retention.rules[].immutabletoo", Boolean, "false", "Whether tags that `retention.immutable` protects may go by this rule."),
    own("retention.rules[].untagged", Duration, "", "How long a manifest stays that no tag and no index needs and that is about nothing here, after it lost its tag and was last pulled. Left out: for ever."),
    own("retention.immutable", Sections, "", "Tags that may be made, and neither be moved nor deleted, whoever asks."),
    own("retention.immutable[].in", OneOrMore, "", "The repositories that are meant, such as `team/**`; all when left out."),
    own("retention.immutable[].tags", OneOrMore, "", "The tags that are meant, written as in `retention.rules`; all when left out."),
];
