//! `quotas`: how much repositories may hold together.

use larder_core::QuotaRule;

use super::super::report::Mistake;
use super::super::scalar;
use super::super::value::Value;
use super::Reader;
use super::retention::place_of_rule;
use super::upstreams::Item;

impl<'a> Reader<'a> {
    pub(super) fn quotas(&mut self) -> Vec<QuotaRule> {
        let items: &'a [Value] = self.set_value("quotas").map(|value| value.items()).unwrap_or_default();
        let mut quotas = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let quota = Item { reader: self, item, path: "quotas[]" };
            quotas.extend(quota.quota(index + 1));
        }
        quotas
    }
}

impl Item<'_, '_> {
    fn quota(mut self, number: usize) -> Option<QuotaRule> {
        let says = |item: &Self, key: &str| item.text(key).is_some();
        let says_something = says(&self, "maxbytes") || says(&self, "maxtags");
        let quota = QuotaRule {
            place: place_of_rule(&self.item.origin, "quota", number),
            repositories: self.repository_patterns("in"),
            bytes: self.limit("maxbytes", |text| scalar::size(text).ok()),
            tags: self.limit("maxtags", scalar::integer),
            copies: self.boolean("cached", false),
        };
        if !says_something {
            let why = "a quota says how much there may be: maxbytes, maxtags, or both";
            let mistake = Mistake::Missing { key: "quotas[].maxbytes", why };
            self.reader.report.error(&self.item.origin, mistake);
            return None;
        }
        Some(quota)
    }

    /// One that can't be read has been reported.
    fn limit(&mut self, key: &str, read: fn(&str) -> Option<i64>) -> Option<u64> {
        let (text, origin) = self.text(key)?;
        match u64::try_from(read(text)?) {
            Ok(limit) if limit > 0 => Some(limit),
            _ => {
                self.invalid(key, origin, "must be 1 or more; to let nobody push, use access");
                None
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
