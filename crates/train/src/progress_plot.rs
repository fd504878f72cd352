//! `progress.png`: losses and pseudo-Dice, epoch durations and learning rate over the epochs.

use std::io::Cursor;
use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;

use super::history::History;
use nnunet_base::files::write_atomic;

const WIDTH: u32 = 1500;
const PANEL_HEIGHT: u32 = 800;
const FONT: &str = "sans-serif";

type Panel<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type DrawError<'a> = DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

/// Draws `history` into a PNG file at `path`, replacing it. Draws nothing before the first epoch is complete.
///
/// # Errors
/// When the file cannot be written; the message of a failed drawing comes as an I/O error too.
pub fn write_progress_plot(history: &History, path: &Path) -> std::io::Result<()> {
    if history.complete_epochs() == 0 {
        return Ok(());
    }
    let mut pixels = vec![255u8; (WIDTH * PANEL_HEIGHT * 3 * 3) as usize];
    draw(history, &mut pixels).map_err(std::io::Error::other)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(Cursor::new(&mut bytes), WIDTH, PANEL_HEIGHT * 3);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header().and_then(|mut w| w.write_image_data(&pixels)).map_err(std::io::Error::other)?;
    write_atomic(path, &bytes)
}

fn register_font() {
    static ONCE: Once = Once::new();
    // The font is part of the program: a machine without fonts gets the same picture.
    ONCE.call_once(|| {
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
}

fn draw(history: &History, pixels: &mut [u8]) -> Result<(), String> {
    register_font();
    let root = BitMapBackend::with_buffer(pixels, (WIDTH, PANEL_HEIGHT * 3)).into_drawing_area();
    let panels = root.split_evenly((3, 1));
    let outcome = losses(&panels[0], history)
        .and_then(|()| durations(&panels[1], history))
        .and_then(|()| rates(&panels[2], history));
    outcome.map_err(|e| format!("progress plot: {e}"))
}

fn losses<'a>(panel: &Panel<'a>, history: &History) -> Result<(), DrawError<'a>> {
    let epochs = history.complete_epochs();
    let (train, validation) = (&history.train_losses[..epochs], &history.val_losses[..epochs]);
    let mut chart = ChartBuilder::on(panel)
        .margin(30)
        .x_label_area_size(60)
        .y_label_area_size(90)
        .right_y_label_area_size(90)
        .caption("loss and pseudo Dice", (FONT, 34))
        .build_cartesian_2d(epoch_range(epochs), range(train.iter().chain(validation)))?
        .set_secondary_coord(
            epoch_range(epochs),
            range(history.mean_fg_dice[..epochs].iter().chain(&history.ema_fg_dice[..epochs])),
        );
    chart.configure_mesh().x_desc("epoch").y_desc("loss").label_style((FONT, 24)).draw()?;
    chart.configure_secondary_axes().y_desc("pseudo Dice").label_style((FONT, 24)).draw()?;
    for (values, colour, label) in [(train, BLUE, "loss_tr"), (validation, RED, "loss_val")] {
        chart
            .draw_series(LineSeries::new(points(values), colour.stroke_width(3)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 30, y)], colour.stroke_width(3)));
    }
    let green = RGBColor(0, 130, 0);
    for (values, width, label) in
        [(&history.mean_fg_dice, 1, "pseudo dice"), (&history.ema_fg_dice, 3, "pseudo dice (mov. avg.)")]
    {
        chart
            .draw_secondary_series(LineSeries::new(points(&values[..epochs]), green.stroke_width(width)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 30, y)], green.stroke_width(width)));
    }
    chart
        .configure_series_labels()
        .label_font((FONT, 24))
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
}

fn durations<'a>(panel: &Panel<'a>, history: &History) -> Result<(), DrawError<'a>> {
    let seconds: Vec<f64> = history
        .epoch_start_timestamps
        .iter()
        .zip(&history.epoch_end_timestamps)
        .take(history.complete_epochs())
        .map(|(start, end)| end - start)
        .collect();
    let top = seconds.iter().copied().fold(0.0, f64::max).max(1e-3) * 1.05;
    single(panel, &seconds, 0.0..top, "epoch duration", "time [s]")
}

fn rates<'a>(panel: &Panel<'a>, history: &History) -> Result<(), DrawError<'a>> {
    let rates = &history.lrs[..history.complete_epochs()];
    let top = rates.iter().copied().fold(0.0, f64::max).max(1e-12) * 1.05;
    single(panel, rates, 0.0..top, "learning rate", "learning rate")
}

fn single<'a>(
    panel: &Panel<'a>,
    values: &[f64],
    y_range: std::ops::Range<f64>,
    caption: &str,
    y_label: &str,
) -> Result<(), DrawError<'a>> {
    let mut chart = ChartBuilder::on(panel)
        .margin(30)
        .x_label_area_size(60)
        .y_label_area_size(110)
        .caption(caption, (FONT, 34))
        .build_cartesian_2d(epoch_range(values.len()), y_range)?;
    chart.configure_mesh().x_desc("epoch").y_desc(y_label).label_style((FONT, 24)).draw()?;
    chart.draw_series(LineSeries::new(points(values), BLUE.stroke_width(3)))?;
    Ok(())
}

fn epoch_range(epochs: usize) -> std::ops::Range<f64> {
    // A single epoch still needs an axis of some length.
    0.0..(epochs as f64 - 1.0).max(1.0)
}

/// The range of the finite values with a margin; a unit range where there are none.
fn range<'a>(values: impl Iterator<Item = &'a f64>) -> std::ops::Range<f64> {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let margin = ((high - low) * 0.05).max(1e-3);
    low - margin..high + margin
}

/// (epoch, value) of the finite values.
fn points(values: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    values.iter().enumerate().filter(|(_, v)| v.is_finite()).map(|(epoch, &v)| (epoch as f64, v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_curves_that_differ_from_an_empty_plot() {
        let mut history = History::default();
        for epoch in 0..20 {
            history.push_for_test(epoch);
        }
        // One value that is not a number must not spoil the picture.
        history.mean_fg_dice[3] = f64::NAN;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.png");
        write_progress_plot(&history, &path).unwrap();
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1500, 2400));
        let panel = (WIDTH * PANEL_HEIGHT * 3) as usize;
        for (i, part) in pixels.chunks(panel).enumerate() {
            let blue = part.chunks(3).filter(|p| p == &[0, 0, 255]).count();
            assert!(blue > 500, "panel {i} has {blue} blue pixels");
        }
    }

    #[test]
    fn before_the_first_epoch_there_is_nothing_to_draw() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.png");
        write_progress_plot(&History::default(), &path).unwrap();
        assert!(!path.exists());
    }
}
