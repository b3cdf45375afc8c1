//! What keys of ours are called at Algolia: by keyset and by the generation that they are made for.

use crate::digest::Digest;
use crate::name::{Generation, KeysetId};

/// The longest name that the API takes, in characters.
pub const LONGEST: usize = 128;

/// The most digits of a generation.
const DIGITS: usize = 20;

/// The names of one keyset's keys: `keyrota/ENVIRONMENT/KEYSET/GENERATION`, or a digest of the two where that would be too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming(String);

impl Naming {
    /// Those of this keyset.
    pub fn of(id: &KeysetId) -> Self {
        let plain = format!("keyrota/{id}/");
        if plain.len() + DIGITS <= LONGEST {
            return Self(plain);
        }
        Self(format!("keyrota/{}/", Digest::of(id.to_string().as_bytes())))
    }

    /// That of the key for this generation.
    pub fn name(&self, generation: Generation) -> String {
        format!("{}{}", self.0, generation.0)
    }

    /// The generation for which a key of this name was made; `None`: not for this keyset.
    pub fn generation_of(&self, name: &str) -> Option<Generation> {
        let digits = name.strip_prefix(&self.0)?;
        let generation = digits.parse().ok().map(Generation)?;
        (self.name(generation) == name).then_some(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_keyset_and_generation_and_fits() {
        let naming = Naming::of(&"production/search".parse().unwrap());
        assert_eq!(naming.name(Generation(12)), "keyrota/production/search/12");
        assert_eq!(naming.generation_of("keyrota/production/search/12"), Some(Generation(12)));
        for other in [
            "keyrota/production/search/",
            "keyrota/production/search/012",
            "keyrota/production/search/+1",
            "keyrota/production/search/1/2",
            "keyrota/production/search-2/1",
            "production/search/1",
            "Keyrota/production/search/1",
        ] {
            assert_eq!(naming.generation_of(other), None, "{other}");
        }
        let (long, other) = ("e".repeat(63), "k".repeat(62));
        let naming = Naming::of(&format!("{long}/{other}").parse().unwrap());
        let name = naming.name(Generation(u64::MAX));
        assert!(name.len() <= LONGEST, "{name}");
        assert_eq!(naming.generation_of(&name), Some(Generation(u64::MAX)));
        assert_ne!(naming, Naming::of(&format!("{long}/{other}k").parse().unwrap()));
    }
}
