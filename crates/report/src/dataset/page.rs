//! The page of a dataset.

use maud::{Markup, html};
use nnunet_base::Ctx;
use nnunet_data::fingerprint::Fingerprint;
use nnunet_data::plan::Explanation;
use nnunet_dataset::verify::{Fault, Severity};
use nnunet_dataset::{DatasetJson, ImageFormats};
use nnunet_pyformats::json::{Json, KeyOrder};

use super::outliers::{Suspicion, suspicions};
use super::pictures::of_suspicious;
use super::survey::{CaseSurvey, Survey};
use crate::classes::class_name;
use crate::figure::{BoxRow, Boxes, Figure};
use crate::page::{Page, Report};
use crate::table::{Cell, Table};
use crate::text::{counted, extent, number};

/// Cases that are drawn.
const DRAWN: usize = 6;
/// Characters of a planned value that are shown.
const LONGEST_VALUE: usize = 160;

/// What is known of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct DatasetContents<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dataset.json.
    pub json: &'a DatasetJson,
    /// What its cases are like.
    pub survey: &'a Survey,
    /// Its faults.
    pub faults: &'a [Fault],
    /// Its fingerprint, if it was taken.
    pub fingerprint: Option<&'a Fingerprint>,
    /// The values of its plans with their reasons, or why there are none.
    pub plans: Result<&'a [Explanation], &'a str>,
}

/// Makes the page of a dataset. `formats` are those that its images may have; pictures that cannot be drawn are a warning each.
pub fn dataset_report(contents: &DatasetContents<'_>, formats: &ImageFormats, ctx: Ctx<'_>) -> Report {
    let names: Vec<String> =
        contents.survey.classes.iter().map(|class| class_name(class, Some(contents.json))).collect();
    let suspicious = suspicions(contents.survey, &names);
    let mut page = Page::new(contents.name, "What its training cases are like, and how it is planned.");
    tiles(&mut page, contents, &names, &suspicious);
    let pictures = of_suspicious(contents.survey, &suspicious, contents.json, formats, DRAWN);
    look_first(&mut page, &suspicious, pictures, ctx);
    faults(&mut page, contents);
    sizes(&mut page, contents.survey);
    intensities(&mut page, contents);
    classes(&mut page, contents.survey, &names);
    plans(&mut page, contents.plans);
    let table = case_table(contents.survey, &names).html();
    page.section("All cases", table);
    page.finish()
}

fn tiles(page: &mut Page, contents: &DatasetContents<'_>, classes: &[String], suspicious: &[Suspicion]) {
    let errors = contents.faults.iter().filter(|f| f.problem.severity() == Severity::Error).count();
    page.tile("Training cases", (contents.survey.cases.len() + contents.survey.unreadable.len()).to_string());
    let channels: Vec<&str> = contents.json.channel_names.values().map(String::as_str).collect();
    page.tile(if channels.len() == 1 { "Channel" } else { "Channels" }, channels.join(", "));
    page.tile(if classes.len() == 1 { "Class" } else { "Classes" }, classes.len().to_string());
    page.tile("Faults", errors.to_string());
    page.tile("Warnings", (contents.faults.len() - errors).to_string());
    page.tile("Unusual cases", suspicious.len().to_string());
}

fn look_first(
    page: &mut Page,
    suspicious: &[Suspicion],
    pictures: Vec<Result<Figure, String>>,
    ctx: Ctx<'_>,
) {
    if suspicious.is_empty() {
        page.section("Look at these first", html! { p { "No case differs much from the others." } });
        return;
    }
    let rows = suspicious.iter().map(|suspicion| {
        vec![Cell::from(suspicion.case.as_str()), Cell::Number(suspicion.score), Cell::from(suspicion.text())]
    });
    let table = Table {
        caption: format!("{}, the most unusual first", counted(suspicious.len(), "unusual case")),
        columns: ["Case", "Score", "Why"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    let mut figures = Vec::new();
    for picture in pictures {
        match picture {
            Ok(figure) => figures.push(page.figure(&figure)),
            Err(fault) => ctx.warning(&format!("no picture in the report: {fault}")),
        }
    }
    let body = html! {
        p.note {
            "Compared with the other cases: spacing, extent, foreground intensity, and volume and components of each class. The \
             score is the distance from the median in robust standard deviations, capped at 20; cases above 3.5 are listed. \
             Unusual does not mean wrong: look at the image before you change anything."
        }
        (table.html())
        @if !figures.is_empty() { div.figures { @for figure in &figures { (figure) } } }
    };
    page.section("Look at these first", body);
}

fn faults(page: &mut Page, contents: &DatasetContents<'_>) {
    let unreadable = contents.survey.unreadable.len();
    let body = if contents.faults.is_empty() {
        html! { p { "None." } }
    } else {
        let row = |fault: &Fault| {
            let severity = match fault.problem.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let problem = fault.problem.to_string();
            // Errors of files name them already.
            let path = fault.path.display().to_string();
            let problem = problem.strip_prefix(&format!("{path}: ")).unwrap_or(&problem).to_owned();
            let file = fault.path.file_name().map_or(path, |name| name.to_string_lossy().into_owned());
            vec![
                Cell::from(fault.case.clone().unwrap_or_default()),
                severity.into(),
                file.into(),
                problem.into(),
            ]
        };
        let table = Table {
            caption: "An error forbids the use of the dataset, a warning is worth a look".to_owned(),
            columns: ["Case", "Severity", "File", "What is wrong"].map(str::to_owned).to_vec(),
            rows: contents.faults.iter().map(row).collect(),
        };
        html! {
            (table.html())
            @if unreadable > 0 { p.note { (counted(unreadable, "case")) " could not be read and are left out below." } }
        }
    };
    page.section("Faults", body);
}

fn sizes(page: &mut Page, survey: &Survey) {
    let rows = |value: &dyn Fn(&CaseSurvey, usize) -> f64| -> Vec<BoxRow> {
        let of_axis = |(axis, name): (usize, &str)| BoxRow {
            label: name.to_owned(),
            values: survey.cases.iter().map(|case| (case.identifier.clone(), value(case, axis))).collect(),
        };
        ["z", "y", "x"].into_iter().enumerate().map(of_axis).collect()
    };
    let boxes = |name: &str, title: &str, unit: &str, rows: Vec<BoxRow>| {
        let caption =
            "Box: quartiles and median; whiskers: 1.5 times their distance; points: cases.".to_owned();
        Boxes { name: name.to_owned(), title: title.to_owned(), caption, unit: unit.to_owned(), rows }.draw()
    };
    let shape = |case: &CaseSurvey, axis: usize| case.shape[axis] as f64;
    let figures = [
        boxes("shapes", "Shapes", "voxels", rows(&shape)),
        boxes("spacings", "Spacings", "mm", rows(&|case, axis| case.spacing[axis])),
        boxes("extents", "Extents", "mm", rows(&|case, axis| shape(case, axis) * case.spacing[axis])),
    ];
    let body = page.figures(&figures);
    page.section("Shapes and spacings", body);
}

fn intensities(page: &mut Page, contents: &DatasetContents<'_>) {
    let channels = contents.survey.cases.iter().map(|case| case.intensities.len()).max().unwrap_or(0);
    let names: Vec<String> = (0..channels)
        .map(|c| {
            contents.json.channel_names.get(&c.to_string()).cloned().unwrap_or_else(|| format!("channel {c}"))
        })
        .collect();
    let figures: Vec<Figure> = names
        .iter()
        .enumerate()
        .map(|(channel, name)| {
            let of_case =
                |case: &CaseSurvey| Some((case.identifier.clone(), *case.intensities.get(channel)?));
            let row = BoxRow {
                label: name.clone(),
                values: contents.survey.cases.iter().filter_map(of_case).collect(),
            };
            Boxes {
                name: format!("intensities_{channel}"),
                title: format!("Foreground intensity: {name}"),
                caption: "The mean of each case over the voxels that have a class.".to_owned(),
                unit: "intensity".to_owned(),
                rows: vec![row],
            }
            .draw()
        })
        .collect();
    let drawn = page.figures(&figures);
    let body = html! {
        @match contents.fingerprint {
            Some(fingerprint) => (intensity_table(fingerprint, &names).html()),
            None => p.note { "The fingerprint was not taken yet, so the statistics of all foreground voxels are missing." },
        }
        (drawn)
    };
    page.section("Intensities", body);
}

fn intensity_table(fingerprint: &Fingerprint, names: &[String]) -> Table {
    let columns = ["Channel", "Mean", "Std", "Min", "0.5 %", "Median", "99.5 %", "Max"];
    let row = |(channel, s): (usize, &nnunet_data::fingerprint::IntensityStatistics)| {
        let name = names.get(channel).cloned().unwrap_or_else(|| format!("channel {channel}"));
        let values = [s.mean, s.std, s.min, s.percentile_00_5, s.median, s.percentile_99_5, s.max];
        std::iter::once(Cell::from(name)).chain(values.map(Cell::Number)).collect()
    };
    Table {
        caption: "Foreground voxels of all cases, from the fingerprint".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: fingerprint.foreground_intensities.iter().enumerate().map(row).collect(),
    }
}

fn classes(page: &mut Page, survey: &Survey, names: &[String]) {
    let rows = |value: &dyn Fn(&CaseSurvey, usize) -> f64| -> Vec<BoxRow> {
        let of_class = |(class, name): (usize, &String)| BoxRow {
            label: name.clone(),
            values: survey
                .cases
                .iter()
                .filter(|case| case.classes[class].voxels > 0)
                .map(|case| (case.identifier.clone(), value(case, class)))
                .collect(),
        };
        names.iter().enumerate().map(of_class).collect()
    };
    let caption = "Of the cases that have the class.".to_owned();
    let boxes = |name: &str, title: &str, unit: &str, rows: Vec<BoxRow>| Boxes {
        name: name.to_owned(),
        title: title.to_owned(),
        caption: caption.clone(),
        unit: unit.to_owned(),
        rows,
    };
    let figures = [
        boxes("volumes", "Volumes", "ml", rows(&|case, class| case.classes[class].ml)).draw(),
        boxes(
            "components",
            "Connected components",
            "components",
            rows(&|case, class| case.classes[class].components as f64),
        )
        .draw(),
    ];
    let total = survey.cases.len();
    let counts: Vec<Vec<Cell>> = names
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let with = survey.cases.iter().filter(|case| case.classes[class].voxels > 0).count();
            let voxels: usize = survey.cases.iter().map(|case| case.classes[class].voxels).sum();
            let all: usize = survey.cases.iter().map(|case| case.shape.iter().product::<usize>()).sum();
            vec![
                Cell::from(name.as_str()),
                Cell::from(survey.classes[class].key()),
                Cell::Number(with as f64),
                Cell::Number(100.0 * with as f64 / total as f64),
                Cell::Number(100.0 * voxels as f64 / all as f64),
            ]
        })
        .collect();
    let table = Table {
        caption: "How often each class occurs".to_owned(),
        columns: ["Class", "Label", "Cases", "Cases (%)", "Voxels (%)"].map(str::to_owned).to_vec(),
        rows: counts,
    };
    let drawn = page.figures(&figures);
    page.section("Classes", html! { (table.html()) (drawn) });
}

fn plans(page: &mut Page, plans: Result<&[Explanation], &str>) {
    let body = match plans {
        Ok(explanations) => plan_tables(explanations),
        Err(reason) => html! { p.note { "No plans: " (reason) } },
    };
    page.section("Plans", body);
}

/// A table for each part of the plans.
fn plan_tables(explanations: &[Explanation]) -> Markup {
    let place = |explanation: &Explanation| match explanation.key.split_once('.') {
        Some(("configurations", rest)) => rest.split('.').next().unwrap_or(rest).to_owned(),
        _ => "All configurations".to_owned(),
    };
    let mut parts: Vec<(String, Vec<&Explanation>)> = Vec::new();
    for explanation in explanations {
        let place = place(explanation);
        match parts.iter_mut().find(|(name, _)| *name == place) {
            Some((_, of_part)) => of_part.push(explanation),
            None => parts.push((place, vec![explanation])),
        }
    }
    let table = |part: &str, explanations: &[&Explanation]| {
        let prefix = format!("configurations.{part}.");
        let row = |explanation: &&Explanation| {
            let key = explanation.key.strip_prefix(&prefix).unwrap_or(&explanation.key);
            let value = match &explanation.planned {
                Some(planned) => {
                    format!("{} (the planner makes {})", one_line(&explanation.value), one_line(planned))
                }
                None => one_line(&explanation.value),
            };
            vec![
                key.into(),
                value.into(),
                Cell::from(explanation.source.as_str()),
                explanation.rule.as_str().into(),
            ]
        };
        Table {
            caption: format!("{}: what each follows from", counted(explanations.len(), "value")),
            columns: ["Value", "Is", "From", "By this rule"].map(str::to_owned).to_vec(),
            rows: explanations.iter().map(row).collect(),
        }
    };
    html! { @for (part, explanations) in &parts { h3 { (part) } (table(part, explanations).html()) } }
}

/// A value on one line, cut where it is long.
fn one_line(value: &Json) -> String {
    let text = value.to_python(KeyOrder::Kept);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn case_table(survey: &Survey, names: &[String]) -> Table {
    let channels = survey.cases.iter().map(|case| case.intensities.len()).max().unwrap_or(0);
    let fixed = ["Case", "Shape (z, y, x)", "Spacing (mm)"].map(str::to_owned);
    let of_channels = (0..channels).map(|channel| format!("Intensity {channel}"));
    let of_classes = names.iter().flat_map(|name| [format!("{name} (ml)"), format!("{name} (components)")]);
    let row = |case: &CaseSurvey| {
        let intensities =
            (0..channels).map(|c| Cell::Number(case.intensities.get(c).copied().unwrap_or(f64::NAN)));
        let classes = case
            .classes
            .iter()
            .flat_map(|class| [Cell::Number(class.ml), Cell::Number(class.components as f64)]);
        [
            Cell::from(case.identifier.as_str()),
            extent(case.shape, |n| n.to_string()).into(),
            extent(case.spacing.along_axes(), number).into(),
        ]
        .into_iter()
        .chain(intensities)
        .chain(classes)
        .collect()
    };
    Table {
        caption: "Every case that could be read; press a heading to sort".to_owned(),
        columns: fixed.into_iter().chain(of_channels).chain(of_classes).collect(),
        rows: survey.cases.iter().map(row).collect(),
    }
}
