//! The claims set of a token (RFC 7519 §2), strictly read: each claim can be looked at, and a map of them all is made for those only
//! who want one.

use serde_json::{Map, Value};

use super::claim::Claim;
use super::flat_json::{self, Member, Members, tag};
use super::strict_json::{self, JsonFault};

/// What a token claims.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClaimsSet<'c> {
    /// Of the form that most have.
    Flat(&'c [Member<'c>]),
    /// Of any form.
    Map(Map<String, Value>),
}

/// The claims that every token is judged by (RFC 7519 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Registered<'c> {
    pub iss: Option<Claim<'c>>,
    pub sub: Option<Claim<'c>>,
    pub aud: Option<Claim<'c>>,
    pub exp: Option<Claim<'c>>,
    pub nbf: Option<Claim<'c>>,
    pub iat: Option<Claim<'c>>,
}

impl<'c> ClaimsSet<'c> {
    /// The one strict JSON object that these octets are. There must be room for its members.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    #[inline]
    pub(super) fn read<'t: 'c>(octets: &'t [u8], room: &'c mut Members<'t>) -> Result<Self, JsonFault> {
        let text = std::str::from_utf8(octets).map_err(|_| JsonFault::NotUtf8)?;
        match flat_json::read(text, room) {
            Some(()) => Ok(Self::Flat(room)),
            None => strict_json::object(octets).map(Self::Map),
        }
    }

    /// The claim of that name.
    pub(super) fn get(&self, name: &str) -> Option<Claim<'_>> {
        match self {
            Self::Flat(members) => members.iter().find(|member| member.name == name).map(|member| member.value),
            Self::Map(map) => map.get(name).map(Claim::from),
        }
    }

    /// Those that every token is judged by, found in one go.
    #[inline]
    pub(super) fn registered(&self) -> Registered<'_> {
        let mut found = Registered::default();
        match self {
            Self::Flat(members) => members.iter().for_each(|member| found.set(member.tag, member.value)),
            Self::Map(map) => map.iter().for_each(|(name, value)| found.set(tag(name.as_bytes()), value.into())),
        }
        found
    }

    /// All of them.
    pub(super) fn into_map(self) -> Map<String, Value> {
        match self {
            Self::Flat(members) => members.iter().map(|member| (member.name.to_owned(), member.value.into())).collect(),
            Self::Map(map) => map,
        }
    }
}

impl<'c> Registered<'c> {
    /// The tag of a name of three letters is the whole of it.
    #[inline]
    fn set(&mut self, tagged: u32, value: Claim<'c>) {
        const ISS: u32 = tag(b"iss");
        const SUB: u32 = tag(b"sub");
        const AUD: u32 = tag(b"aud");
        const EXP: u32 = tag(b"exp");
        const NBF: u32 = tag(b"nbf");
        const IAT: u32 = tag(b"iat");
        let claim = match tagged {
            ISS => &mut self.iss,
            SUB => &mut self.sub,
            AUD => &mut self.aud,
            EXP => &mut self.exp,
            NBF => &mut self.nbf,
            IAT => &mut self.iat,
            _ => return,
        };
        *claim = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let plain = r#"{"sub":"ada","exp":17,"x":null,"y":true}"#;
        let spaced = format!(" {plain}");
        let (mut one, mut other) = (Members::new(), Members::new());
        let flat = ClaimsSet::read(plain.as_bytes(), &mut one).unwrap();
        let map = ClaimsSet::read(spaced.as_bytes(), &mut other).unwrap();
        assert!(matches!((&flat, &map), (ClaimsSet::Flat(_), ClaimsSet::Map(_))));
        for name in ["sub", "exp", "x", "y", "z"] {
            assert_eq!(flat.get(name), map.get(name), "{name}");
        }
        assert_eq!(flat.registered(), map.registered());
        assert_eq!(flat.into_map(), map.into_map());
        assert_eq!(ClaimsSet::read(b"{\"a\":1,\"a\":1}", &mut Members::new()), Err(JsonFault::Duplicate("a".to_owned())));
        assert_eq!(ClaimsSet::read(b"\xff", &mut Members::new()), Err(JsonFault::NotUtf8));
    }
}
