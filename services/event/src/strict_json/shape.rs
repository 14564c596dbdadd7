//! Walks over any JSON and builds nothing.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Path, Run};

/// Its value: whether what it saw was an object.
pub(super) struct Seed<'a> {
    pub(super) run: &'a Run,
    pub(super) path: &'a Path<'a>,
    pub(super) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let (run, depth) = (self.run, self.depth + 1);
        run.check_depth(depth, self.path)?;
        let mut index = 0;
        loop {
            let path = Path::Index(self.path, index);
            if seq
                .next_element_seed(Seed {
                    run,
                    path: &path,
                    depth,
                })?
                .is_none()
            {
                return Ok(false);
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let (run, depth) = (self.run, self.depth + 1);
        run.check_depth(depth, self.path)?;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let path = Path::Key(self.path, &key);
            map.next_value_seed(Seed {
                run,
                path: &path,
                depth,
            })?;
        }
        Ok(true)
    }
}
