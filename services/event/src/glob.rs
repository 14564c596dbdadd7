//! Globs: `*` for any run of characters, `?` for one.
//!
//! Matching simulates all positions in the pattern at once, a bit each, so that it takes time in
//! the text's length times (pattern / 64), whatever the pattern is.

use crate::limits::GLOB_PARTS_MAX;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Glob {
    /// `None`: too long, matches nothing.
    parts: Option<Parts>,
    fold: bool,
}

#[derive(Debug, Clone)]
struct Parts {
    len: usize,
    words: usize,
    /// Bit i: part i is a `*`.
    stars: Vec<u64>,
    /// Bit i: part i is a `?`.
    any: Vec<u64>,
    /// For each letter of the pattern the parts that it is. Sorted.
    letters: Vec<(char, Vec<u64>)>,
}

/// Where a match may begin and end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bounds {
    Whole,
    Words,
}

/// Whether a pattern has `*` or `?` in it.
pub fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

impl Glob {
    /// `*` and `?`, upper and lower case alike: server ACLs and push rules.
    pub fn new(pattern: &str) -> Self {
        let letters = pattern.chars().flat_map(char::to_lowercase);
        Self {
            parts: Parts::compile(letters, "*?"),
            fold: true,
        }
    }

    /// No wildcards, upper and lower case alike: display names.
    pub fn literal(text: &str) -> Self {
        let letters = text.chars().flat_map(char::to_lowercase);
        Self {
            parts: Parts::compile(letters, ""),
            fold: true,
        }
    }

    /// `*` alone, case counts: the types of a filter.
    pub fn stars(pattern: &str) -> Self {
        Self {
            parts: Parts::compile(pattern.chars(), "*"),
            fold: false,
        }
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.run(text, Bounds::Whole)
    }

    /// Whether a part of the text matches that begins and ends at the text's ends or between
    /// characters that are not both of `A-Z a-z 0-9 _` (push conditions on `content.body`).
    pub fn matches_word(&self, text: &str) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.len > 0) && self.run(text, Bounds::Words)
    }

    fn run(&self, text: &str, bounds: Bounds) -> bool {
        let Some(parts) = &self.parts else {
            return false;
        };
        if self.fold {
            parts.run(text.chars().flat_map(char::to_lowercase), bounds)
        } else {
            parts.run(text.chars(), bounds)
        }
    }
}

fn is_word(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

impl Parts {
    fn compile(pattern: impl Iterator<Item = char>, wildcards: &str) -> Option<Self> {
        let star = wildcards.contains('*');
        let mut letters: Vec<char> = Vec::new();
        for letter in pattern {
            if star && letter == '*' && letters.last() == Some(&'*') {
                continue;
            }
            letters.push(letter);
            if letters.len() > GLOB_PARTS_MAX {
                return None;
            }
        }
        let len = letters.len();
        let words = len / 64 + 1;
        let empty = || vec![0; words];
        let mut parts = Self {
            len,
            words,
            stars: empty(),
            any: empty(),
            letters: Vec::new(),
        };
        for (at, letter) in letters.into_iter().enumerate() {
            match letter {
                '*' if star => set(&mut parts.stars, at),
                '?' if wildcards.contains('?') => set(&mut parts.any, at),
                _ => parts.set_letter(letter, at),
            }
        }
        Some(parts)
    }

    fn set_letter(&mut self, letter: char, at: usize) {
        match self
            .letters
            .binary_search_by_key(&letter, |(known, _)| *known)
        {
            Ok(index) => {
                if let Some((_, mask)) = self.letters.get_mut(index) {
                    set(mask, at);
                }
            }
            Err(index) => {
                let mut mask = vec![0; self.words];
                set(&mut mask, at);
                self.letters.insert(index, (letter, mask));
            }
        }
    }

    fn run(&self, text: impl Iterator<Item = char>, bounds: Bounds) -> bool {
        // Bit i: the parts before i have matched up to here.
        let mut states = vec![0; self.words];
        let mut text = text.peekable();
        self.enter(&mut states);
        while let Some(letter) = text.next() {
            self.step(&mut states, letter);
            if bounds == Bounds::Whole {
                if states.iter().all(|word| *word == 0) {
                    return false;
                }
            } else if !(is_word(Some(letter)) && is_word(text.peek().copied())) {
                if get(&states, self.len) {
                    return true;
                }
                self.enter(&mut states);
            }
        }
        get(&states, self.len)
    }

    /// Starts a match here.
    fn enter(&self, states: &mut [u64]) {
        set(states, 0);
        self.skip_stars(states);
    }

    /// A `*` may match nothing. Two never stand side by side, so one step is enough.
    fn skip_stars(&self, states: &mut [u64]) {
        let mut carry = 0;
        for (state, stars) in states.iter_mut().zip(&self.stars) {
            let skipping = *state & stars;
            *state |= skipping << 1 | carry;
            carry = skipping >> 63;
        }
    }

    fn step(&self, states: &mut [u64], letter: char) {
        let found = self
            .letters
            .binary_search_by_key(&letter, |(known, _)| *known)
            .ok();
        let own = found
            .and_then(|index| self.letters.get(index))
            .map(|(_, mask)| mask);
        let mut carry = 0;
        for (word, state) in states.iter_mut().enumerate() {
            let at = |mask: &[u64]| mask.get(word).copied().unwrap_or_default();
            let moving = *state & (at(&self.any) | own.map_or(0, |mask| at(mask)));
            let staying = *state & at(&self.stars);
            *state = staying | moving << 1 | carry;
            carry = moving >> 63;
        }
        self.skip_stars(states);
    }
}

fn set(bits: &mut [u64], at: usize) {
    if let Some(word) = bits.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

fn get(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64)
        .is_some_and(|word| word >> (at % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain definition, exponential and all.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((&'*', rest)), _) if slow(rest, text) => true,
            (Some((&'*', _)), Some((_, text))) => slow(pattern, text),
            (Some((&'?', rest)), Some((_, text))) => slow(rest, text),
            (Some((a, rest)), Some((b, text))) => a == b && slow(rest, text),
            _ => false,
        }
    }

    #[test]
    fn whole_texts() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.Example.org", "matrix.EXAMPLE.org", true),
            ("*.example.org", "example.org", false),
            ("ex*ple", "exple", true),
            ("日*", "日本", true),
            ("a**b", "ab", true),
            ("a", "ab", false),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                matches,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn words() {
        for (pattern, text, matches) in [
            ("foo", "foo bar", true),
            ("foo", "Foo!", true),
            ("foo", "foobar", false),
            ("foo", "barfoo foo", true),
            ("foo", "foo_bar", false),
            ("foo", "(foo)", true),
            ("foo bar", "a foo bar b", true),
            ("ex*ple", "An example event.", true),
            ("ex*ple", "An exciting triple-whammy", true),
            ("lunc?*", "my lunchtime", true),
            ("⚡", "a⚡b", true),
            ("", "", false),
            ("", "a", false),
        ] {
            assert_eq!(
                Glob::new(pattern).matches_word(text),
                matches,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn stars_alone_keep_case_and_question_marks() {
        assert!(Glob::stars("m.room.*").matches("m.room.message"));
        assert!(!Glob::stars("m.room.*").matches("M.room.message"));
        assert!(Glob::stars("a?").matches("a?"));
        assert!(!Glob::stars("a?").matches("ab"));
        assert!(Glob::literal("a**?").matches_word("say A**? now"));
        assert!(!Glob::literal("a*").matches_word("say abc now"));
    }

    #[test]
    fn patterns_beyond_the_bound_match_nothing() {
        assert!(Glob::new(&"?".repeat(512)).matches(&"a".repeat(512)));
        assert!(!Glob::new(&"?".repeat(513)).matches(&"a".repeat(513)));
        assert!(Glob::new(&"*".repeat(60_000)).matches("a"));
        assert!(!Glob::new(&("*".repeat(60_000) + "b")).matches("a"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_definition(pattern in "[ab*?]{0,8}", text in "[abc]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            let expected = slow(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }

        /// Across the borders of the 64-bit words.
        #[test]
        fn long_patterns_match_themselves(text in "[ab]{60,200}", at in 0usize..60) {
            let mut pattern = text.clone();
            pattern.replace_range(at..=at, "?");
            prop_assert!(Glob::new(&pattern).matches(&text));
            pattern.replace_range(at..=at, "*");
            prop_assert!(Glob::new(&pattern).matches(&text));
            pattern.push('c');
            prop_assert!(!Glob::new(&pattern).matches(&text));
        }
    }
}
