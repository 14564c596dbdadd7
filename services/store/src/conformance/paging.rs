//! Ranges and pages.

use super::{
    Subject,
    setup::{LOG, Place, STAMPED, append},
};
use crate::{Direction, Mutation, Range, Scan, StampedDelete, StampedPut, Value};

const BOTH: [Direction; 2] = [Direction::Forward, Direction::Backward];

/// Rows `(-2..=2) x (a, ab, b)`.
async fn grid(subject: &dyn Subject, case: &str) -> (Place, Vec<Value>) {
    let place = Place::new(subject, case);
    let mut puts = Vec::new();
    for major in -2..=2 {
        for minor in ["a", "ab", "b"] {
            puts.push(Mutation::Put(StampedPut {
                table: &STAMPED,
                key: place.key(major, minor),
                values: vec![Value::Null; 4],
                stamp: 1,
                expires_at_ms: None,
            }));
        }
    }
    place.apply(puts).await;
    let partition = vec![place.part.as_str().into()];
    (place, partition)
}

/// What a range finds, as `major minor`, in ascending order whatever the direction.
async fn found(place: &Place, partition: &[Value], range: &Range, limit: usize) -> String {
    let mut both = Vec::new();
    for direction in BOTH {
        let rows = place
            .pages(
                &STAMPED,
                partition.to_vec(),
                range.clone(),
                direction,
                limit,
            )
            .await;
        let mut names: Vec<_> = rows
            .iter()
            .map(|row| {
                let (major, minor) = (&row.clustering[0], &row.clustering[1]);
                format!("{}{}", major.as_i64().unwrap(), minor.as_str().unwrap())
            })
            .collect();
        if direction == Direction::Backward {
            names.reverse();
        }
        both.push(names.join(" "));
    }
    assert_eq!(
        both[0], both[1],
        "forward and backward differ for {range:?}"
    );
    both.swap_remove(0)
}

/// Pages of every size put together are the whole, both ways.
pub(super) async fn pages_add_up(subject: &mut dyn Subject) {
    let (place, partition) = grid(subject, "pages").await;
    let whole = found(&place, &partition, &Range::all(), 100).await;
    assert_eq!(whole.split(' ').count(), 15);
    for limit in [1, 2, 7, 14, 15, 16] {
        assert_eq!(found(&place, &partition, &Range::all(), limit).await, whole);
    }
}

/// A limit ends the page, and `more` tells whether there may be rows behind.
pub(super) async fn limits_end_a_page(subject: &mut dyn Subject) {
    let (place, partition) = grid(subject, "limit").await;
    for direction in BOTH {
        let scan = |limit| Scan {
            table: &STAMPED,
            partition: partition.clone(),
            range: Range::all(),
            direction,
            limit,
        };
        let page = place.scan(scan(4)).await;
        assert_eq!((page.rows.len(), page.more), (4, true));
        let first = if direction == Direction::Forward {
            -2
        } else {
            2
        };
        assert_eq!(page.rows[0].clustering[0], first.into());
        let page = place.scan(scan(Scan::LIMIT_MAX)).await;
        assert_eq!((page.rows.len(), page.more), (15, false));
    }
}

/// Every kind of bound, on one column and on both.
pub(super) async fn ranges_bound_by_prefix(subject: &mut dyn Subject) {
    let (place, partition) = grid(subject, "ranges").await;
    let one = |major: i64| vec![Value::from(major)];
    let two = |major: i64, minor: &str| vec![Value::from(major), minor.into()];
    let between = |from: Vec<Value>, to: Vec<Value>, from_exclusive, to_exclusive| Range {
        from,
        from_exclusive,
        to,
        to_exclusive,
    };
    let cases = [
        (Range::prefix(one(0)), "0a 0ab 0b"),
        (Range::prefix(two(0, "a")), "0a"),
        (Range::prefix(two(0, "c")), ""),
        (Range::at_least(one(2)), "2a 2ab 2b"),
        (Range::at_least(two(2, "ab")), "2ab 2b"),
        (Range::at_least(two(2, "aa")), "2ab 2b"),
        (Range::after(one(1)), "2a 2ab 2b"),
        (Range::after(two(2, "a")), "2ab 2b"),
        (Range::at_most(one(-2)), "-2a -2ab -2b"),
        (Range::at_most(two(-2, "ab")), "-2a -2ab"),
        (Range::before(one(-1)), "-2a -2ab -2b"),
        (Range::before(two(-2, "ab")), "-2a"),
        (Range::after(two(-1, "b")).up_to(one(0)), "0a 0ab 0b"),
        (Range::at_least(one(0)).up_to(two(0, "a")), "0a"),
        (between(one(-1), two(1, "a"), true, true), "0a 0ab 0b"),
        (between(two(-1, "ab"), two(0, "a"), true, false), "-1b 0a"),
        (between(two(0, "a"), two(0, "b"), false, true), "0a 0ab"),
        (between(one(0), one(0), true, false), ""),
        (Range::after(one(2)), ""),
        (Range::before(one(-2)), ""),
    ];
    for (range, expected) in cases {
        for limit in [2, 100] {
            assert_eq!(
                found(&place, &partition, &range, limit).await,
                expected,
                "{range:?}"
            );
        }
    }
}

/// Nothing there: an empty page with nothing behind.
pub(super) async fn an_empty_partition_has_an_empty_page(subject: &mut dyn Subject) {
    let place = Place::new(subject, "nobody");
    for direction in BOTH {
        let partition = vec![place.part.as_str().into()];
        let rows = place
            .pages(&STAMPED, partition, Range::all(), direction, 10)
            .await;
        assert_eq!(rows, []);
    }
}

/// Deleted rows take no place in a page, however many lie in the way.
pub(super) async fn pages_skip_deleted_rows(subject: &mut dyn Subject) {
    let place = Place::new(subject, "skip");
    let puts = (0..200).map(|major| {
        Mutation::Put(StampedPut {
            table: &STAMPED,
            key: place.key(major, ""),
            values: vec![Value::Null; 4],
            stamp: 1,
            expires_at_ms: None,
        })
    });
    place.apply(puts).await;
    let deletes = (0..200).filter(|major| major % 50 != 0).map(|major| {
        Mutation::Delete(StampedDelete {
            table: &STAMPED,
            key: place.key(major, ""),
            stamp: 2,
        })
    });
    place.apply(deletes).await;
    for direction in BOTH {
        for limit in [1, 3, 100] {
            let partition = vec![place.part.as_str().into()];
            let rows = place
                .pages(&STAMPED, partition, Range::all(), direction, limit)
                .await;
            let mut majors: Vec<_> = rows
                .iter()
                .map(|row| row.clustering[0].as_i64().unwrap())
                .collect();
            majors.sort_unstable();
            assert_eq!(majors, [0, 50, 100, 150], "{direction:?}, limit {limit}");
        }
    }
}

/// A scan gives the statics with each row, and no row for statics alone.
pub(super) async fn statics_come_with_each_row(subject: &mut dyn Subject) {
    let place = Place::new(subject, "with statics");
    place.open_segment(1).await;
    let scan = |direction| place.pages(&LOG, place.segment(1), Range::all(), direction, 2);
    for direction in BOTH {
        assert_eq!(
            scan(direction).await,
            [],
            "statics alone are no row of a scan"
        );
    }
    for seq in 0..5 {
        assert!(place.log(1, append(1, seq, b"body")).await);
    }
    for direction in BOTH {
        let rows = scan(direction).await;
        assert_eq!(rows.len(), 5);
        for row in rows {
            assert_eq!(
                row.statics,
                [1.into(), 5.into(), "appender".into(), Value::Null]
            );
        }
    }
}
