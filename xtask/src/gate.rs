//! Running the layers one after the other, and the account at the end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::counts::Counts;
use crate::layers::{LAYERS, Layer};
use crate::setup::Need;

/// How one layer went.
struct Line {
    name: &'static str,
    result: Reported,
    took: Duration,
}

enum Reported {
    Counted(Counts),
    Absent(&'static str),
}

/// Runs the layers named in `only`, or all. True if nothing failed.
pub(crate) fn run(root: &Path, only: &[String]) -> bool {
    let begun = stopwatch();
    let mut prepared = Vec::new();
    let wanted = |layer: &&Layer| only.is_empty() || only.iter().any(|name| name == layer.name);
    let lines: Vec<Line> = LAYERS
        .iter()
        .filter(wanted)
        .map(|layer| run_layer(root, layer, &mut prepared))
        .collect();
    account(&lines, begun.elapsed())
}

fn run_layer(root: &Path, layer: &Layer, prepared: &mut Vec<Need>) -> Line {
    println!("== {}", layer.name);
    let begun = stopwatch();
    let result = match (layer.absent)(root) {
        Some(why) => Reported::Absent(why),
        None => Reported::Counted(
            prepare(root, layer, prepared)
                .and_then(|()| (layer.run)(root))
                .unwrap_or_else(|error| {
                    println!("{}: {error:#}", layer.name);
                    Counts::one(false)
                }),
        ),
    };
    let line = Line {
        name: layer.name,
        result,
        took: begun.elapsed(),
    };
    println!("-- {}", line.text());
    line
}

/// Makes what the layer needs, unless an earlier layer needed it too.
fn prepare(root: &Path, layer: &Layer, prepared: &mut Vec<Need>) -> Result<()> {
    for need in layer.needs {
        if !prepared.contains(need) {
            let begun = stopwatch();
            need.prepare(root)?;
            prepared.push(*need);
            println!(
                "   set-up: {need:?} in {:.1} s",
                begun.elapsed().as_secs_f64()
            );
        }
    }
    Ok(())
}

/// Prints every layer's result and, last, the sum. True if nothing failed.
fn account(lines: &[Line], took: Duration) -> bool {
    println!("== all layers, {:.0} s", took.as_secs_f64());
    for line in lines {
        println!("{}", line.text());
    }
    let sum = sum(lines);
    println!("{} passed, {} failed", sum.passed, sum.failed);
    sum.failed == 0 && sum.passed > 0
}

fn sum(lines: &[Line]) -> Counts {
    let mut sum = Counts::default();
    for line in lines {
        if let Reported::Counted(counts) = line.result {
            sum += counts;
        }
    }
    sum
}

impl Line {
    fn text(&self) -> String {
        let (name, took) = (self.name, self.took.as_secs_f64());
        match self.result {
            Reported::Absent(why) => format!("{name:17} absent: {why}"),
            Reported::Counted(Counts {
                passed,
                failed,
                skipped,
            }) => {
                let skipped = if skipped > 0 {
                    format!(", {skipped} skipped")
                } else {
                    String::new()
                };
                format!("{name:17} {passed} passed, {failed} failed{skipped} in {took:.1} s")
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tool measures its own wall time"
)]
fn stopwatch() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn layer(run: fn(&Path) -> Result<Counts>, absent: fn(&Path) -> Option<&'static str>) -> Line {
        let layer = Layer {
            name: "test",
            needs: &[],
            run,
            absent,
        };
        run_layer(Path::new("/"), &layer, &mut Vec::new())
    }

    #[test]
    fn a_layer_that_breaks_is_a_failure_and_an_absent_one_is_nothing() {
        let good = layer(
            |_| {
                Ok(Counts {
                    passed: 3,
                    failed: 0,
                    skipped: 1,
                })
            },
            |_| None,
        );
        let broken = layer(|_| bail!("no"), |_| None);
        let absent = layer(|_| bail!("not called"), |_| Some("not here"));
        assert!(good.text().contains("3 passed, 0 failed, 1 skipped"));
        assert!(absent.text().ends_with("absent: not here"));

        let lines = [good, broken, absent];
        assert_eq!(
            sum(&lines),
            Counts {
                passed: 3,
                failed: 1,
                skipped: 1
            }
        );
        assert!(!account(&lines, Duration::ZERO));
        assert!(
            !account(&[], Duration::ZERO),
            "nothing run is nothing shown"
        );
    }
}
