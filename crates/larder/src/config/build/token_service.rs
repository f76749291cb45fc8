//! `tokenservice`: the other registries that take Larder's tokens.

use super::Reader;

impl Reader<'_> {
    pub(super) fn token_services(&mut self) -> Vec<String> {
        const KEY: &str = "tokenservice.services";
        let mut services: Vec<String> = Vec::new();
        for value in self.set_value(KEY).map(|value| value.items()).unwrap_or_default() {
            match value.scalar() {
                Some("") => self.invalid(KEY, &value.origin, "holds an empty name"),
                Some(name) if services.iter().any(|known| known == name) => {
                    self.invalid(KEY, &value.origin, format!("names {name} twice"));
                }
                Some(name) => services.push(name.to_owned()),
                None => {}
            }
        }
        services
    }
}

#[cfg(test)]
pub(super) mod tests;
