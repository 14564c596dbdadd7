//! Reads a value of canonical JSON.

use std::{borrow::Cow, collections::btree_map::Entry, fmt};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Kind, Path, Run};

pub(super) struct Seed<'a> {
    pub(super) run: &'a Run,
    pub(super) path: &'a Path<'a>,
    /// How many arrays and objects are around this value.
    pub(super) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = CanonicalJsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn integer<E: Error>(&self, value: Option<Int>) -> Result<CanonicalJsonValue, E> {
        let value = value.ok_or_else(|| self.run.fail(Kind::IntegerRange, self.path))?;
        Ok(CanonicalJsonValue::Integer(value))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = CanonicalJsonValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("canonical JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.integer(Int::new(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.integer(i64::try_from(value).ok().and_then(Int::new))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(self.run.fail(Kind::Float, self.path))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (run, depth) = (self.run, self.depth + 1);
        run.check_depth(depth, self.path)?;
        let mut values = Vec::new();
        loop {
            let path = Path::Index(self.path, values.len());
            match seq.next_element_seed(Seed {
                run,
                path: &path,
                depth,
            })? {
                Some(value) => values.push(value),
                None => return Ok(CanonicalJsonValue::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (run, depth) = (self.run, self.depth + 1);
        run.check_depth(depth, self.path)?;
        let mut object = CanonicalJsonObject::new();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let path = Path::Key(self.path, &key);
            let value = map.next_value_seed(Seed {
                run,
                path: &path,
                depth,
            })?;
            match object.entry(key.to_string()) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(_) => return Err(run.fail(Kind::DuplicateKey, &path)),
            };
        }
        Ok(CanonicalJsonValue::Object(object))
    }
}
