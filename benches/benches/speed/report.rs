//! The table of aims with one run's ratios, what a decision adds to a lookup, and the plot of it.

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

use midsession_benches::readme::replace_table;
use midsession_benches::scale::NUMBERS;
use plotters::prelude::*;
use serde_json::Value;

/// What is divided by what, and the bound that is aimed at.
const AIMS: [(&str, &str, Aim); 7] = [
    ("request/midsession", "request/parse_only", Aim::AtMost(1.25)),
    ("request/midsession", "request/parse_borrowed", Aim::AtMost(1.55)),
    ("request/handwritten", "request/midsession", Aim::AtLeast(5.0)),
    ("apply/accept", "request/parse_only", Aim::AtMost(0.5)),
    ("decide/duplicate", "decide/floor", Aim::AtMost(2.0)),
    ("peer/governor_keyed", "decide/duplicate", Aim::AtLeast(2.0)),
    ("peer/governor_keyed_told_the_time", "decide/duplicate", Aim::None),
];

#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// What a decision may add to a bare lookup, in nanoseconds.
const MOST_ADDED: f64 = 150.0;

/// Prints both tables, writes them into the README, and writes the plot, from the medians that criterion left in `target`.
pub fn write(target: &Path) -> Result<(), Box<dyn Error>> {
    let mut times = "| ratio of medians | aim | measured | |\n|---|---|---|---|\n".to_owned();
    for (id, other, aim) in AIMS {
        times += &ratio(id, other, aim, [median(target, id)?, median(target, other)?]);
    }
    let mut added =
        "| sessions | lookup | a duplicate adds | an accepted link adds | aim |\n|---|---|---|---|---|\n".to_owned();
    let mut scale = [const { Vec::new() }; 3];
    for n in NUMBERS {
        let mut medians = [0.0; 3];
        for (at, name) in ["lookup/", "duplicate/", ""].into_iter().enumerate() {
            medians[at] = median(target, &format!("scale/{name}{n}"))?;
            scale[at].push((n, medians[at]));
        }
        added += &added_to_lookup(n, medians);
    }
    println!("{times}\n{added}");
    replace_table("times", &times)?;
    let readme = replace_table("scale", &added)?;
    let file = readme.with_file_name("scale.svg");
    plot(&file, &scale)?;
    println!("Written: {}, {}", readme.display(), file.display());
    Ok(())
}

fn added_to_lookup(n: u32, [lookup, duplicate, accept]: [f64; 3]) -> String {
    let [duplicate, accept] = [duplicate, accept].map(|time| time - lookup);
    let verdict = if duplicate.max(accept) <= MOST_ADDED { "" } else { ", behind" };
    format!("| {n} | {lookup:.0} ns | {duplicate:.0} ns | {accept:.0} ns | ≤ {MOST_ADDED} ns{verdict} |\n")
}

fn ratio(id: &str, other: &str, aim: Aim, [time, other_time]: [f64; 2]) -> String {
    let ratio = time / other_time;
    let (aim, holds) = match aim {
        Aim::AtMost(bound) => (format!("≤ {bound}"), ratio <= bound),
        Aim::AtLeast(bound) => (format!("≥ {bound}"), ratio >= bound),
        Aim::None => ("–".to_owned(), true),
    };
    let verdict = if holds { "" } else { "behind" };
    format!("| `{id}` ÷ `{other}` | {aim} | {ratio:.2} ({time:.0} ns ÷ {other_time:.0} ns) | {verdict} |\n")
}

/// In nanoseconds.
fn median(target: &Path, id: &str) -> Result<f64, Box<dyn Error>> {
    let estimates: Value = serde_json::from_slice(&fs::read(target.join(id).join("new/estimates.json"))?)?;
    Ok(estimates["median"]["point_estimate"].as_f64().ok_or("criterion's estimates have no median")?)
}

/// Greys and colours that stand out from white and from black alike, on no background: READMEs are shown on either.
const INK: RGBColor = RGBColor(0x80, 0x80, 0x80);
const LINES: [(&str, RGBColor); 3] = [
    ("bare lookup", INK),
    ("lookup and apply_link: duplicate", RGBColor(0xd9, 0x77, 0x06)),
    ("lookup and apply_link: accepted", RGBColor(0x3b, 0x82, 0xf6)),
];
const NANOSECONDS: Range<f64> = 10.0..3_000.0;

fn plot(file: &Path, scale: &[Vec<(u32, f64)>; 3]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, (720, 400)).into_drawing_area();
    let numbers = NUMBERS[0]..NUMBERS[NUMBERS.len() - 1];
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 44)
        .build_cartesian_2d(numbers.log_scale(), NANOSECONDS.log_scale())?;
    let text = ("sans-serif", 14).into_font().color(&INK);
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(INK.mix(0.3))
        .light_line_style(TRANSPARENT)
        .label_style(text.clone())
        .x_labels(NUMBERS.len())
        .x_label_formatter(&|n| {
            if *n < 1_000_000 { format!("{} k", n / 1_000) } else { format!("{} M", n / 1_000_000) }
        })
        .y_label_formatter(&|nanoseconds| format!("{nanoseconds:.0}"))
        .x_desc("sessions in the map")
        .y_desc("nanoseconds, median")
        .draw()?;
    for ((label, colour), line) in LINES.iter().zip(scale) {
        chart
            .draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(*label)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).label_font(text).draw()?;
    area.present()?;
    Ok(())
}
