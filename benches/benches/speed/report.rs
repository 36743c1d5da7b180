//! The table of aims with one run's ratios, and the plot of the scale.

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

use midsession_benches::scale::NUMBERS;
use plotters::prelude::*;
use serde_json::Value;

/// What is divided by what, and the bound that is aimed at.
const AIMS: [(&str, &str, Aim); 7] = [
    ("request/midsession", "request/parse_only", Aim::AtMost(1.3)),
    ("request/midsession", "request/parse_lent", Aim::None),
    ("request/handwritten", "request/midsession", Aim::AtLeast(5.0)),
    ("apply/accept", "request/parse_only", Aim::AtMost(0.5)),
    ("decide/duplicate", "decide/floor", Aim::AtMost(2.0)),
    ("peer/governor_keyed", "decide/duplicate", Aim::AtLeast(4.0)),
    ("peer/governor_keyed_told_the_time", "decide/duplicate", Aim::None),
];

#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// Prints the table and writes the plot, from the medians that criterion left in `target`.
pub fn write(target: &Path) -> Result<(), Box<dyn Error>> {
    println!("| ratio of medians | aim | this run | |\n|---|---|---|---|");
    let medians = |ids: [&str; 2]| Ok::<_, Box<dyn Error>>([median(target, ids[0])?, median(target, ids[1])?]);
    for (id, other, aim) in AIMS {
        print_row(id, other, aim, medians([id, other])?);
    }
    let ids = |n: u32| ["lookup/", "duplicate/", ""].map(|name| format!("scale/{name}{n}"));
    for n in NUMBERS {
        let [lookup, duplicate, accept] = ids(n);
        print_row(&duplicate, &lookup, Aim::AtMost(1.5), medians([&duplicate, &lookup])?);
        print_row(&accept, &lookup, Aim::AtMost(1.5), medians([&accept, &lookup])?);
    }
    let mut scale = [const { Vec::new() }; 3];
    for n in NUMBERS {
        for (line, id) in scale.iter_mut().zip(ids(n)) {
            line.push((n, median(target, &id)?));
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scale.svg");
    plot(&file, &scale)?;
    println!("\nThe plot of the scale: {}", file.display());
    Ok(())
}

fn print_row(id: &str, other: &str, aim: Aim, [time, other_time]: [f64; 2]) {
    let ratio = time / other_time;
    let (aim, holds) = match aim {
        Aim::AtMost(bound) => (format!("≤ {bound}"), ratio <= bound),
        Aim::AtLeast(bound) => (format!("≥ {bound}"), ratio >= bound),
        Aim::None => ("–".to_owned(), true),
    };
    let verdict = if holds { "" } else { "behind" };
    println!("| `{id}` ÷ `{other}` | {aim} | {ratio:.2} ({time:.0} ns ÷ {other_time:.0} ns) | {verdict} |");
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
