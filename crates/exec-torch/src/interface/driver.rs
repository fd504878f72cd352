//! NVIDIA's driver: which cards there are. It is asked before libtorch is, since it answers at once.

use std::ffi::c_char;

use libloading::Library;

/// The driver and its cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Driver {
    /// Newest CUDA version that it runs, e.g. (13, 0).
    pub(crate) cuda: (i32, i32),
    /// Name and bytes of memory of each card.
    pub(crate) cards: Vec<(String, usize)>,
}

/// Why no card can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoDriver {
    /// There is no library of the driver.
    Missing,
    /// The driver refuses, with its number for the reason.
    Refuses(i32),
}

type Init = unsafe extern "C" fn(u32) -> i32;
type Number = unsafe extern "C" fn(*mut i32) -> i32;
type Get = unsafe extern "C" fn(*mut i32, i32) -> i32;
type Name = unsafe extern "C" fn(*mut c_char, i32, i32) -> i32;
type Memory = unsafe extern "C" fn(*mut usize, i32) -> i32;

const FILE: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

impl Driver {
    /// Asks the driver.
    pub(crate) fn ask() -> Result<Self, NoDriver> {
        // SAFETY: the driver's library has no initialisers that matter here.
        let library = unsafe { Library::new(FILE) }.map_err(|_| NoDriver::Missing)?;
        let missing = |_| NoDriver::Missing;
        // SAFETY: the signatures of cuda.h, which are the same in all versions.
        let (init, version, count, get, name, memory) = unsafe {
            (
                *library.get::<Init>(b"cuInit\0").map_err(missing)?,
                *library.get::<Number>(b"cuDriverGetVersion\0").map_err(missing)?,
                *library.get::<Number>(b"cuDeviceGetCount\0").map_err(missing)?,
                *library.get::<Get>(b"cuDeviceGet\0").map_err(missing)?,
                *library.get::<Name>(b"cuDeviceGetName\0").map_err(missing)?,
                *library.get::<Memory>(b"cuDeviceTotalMem_v2\0").map_err(missing)?,
            )
        };
        let (mut number, mut cards) = (0, 0);
        // SAFETY: takes flags, of which there are none.
        refused(unsafe { init(0) })?;
        // SAFETY: both write one number.
        refused(unsafe { version(&raw mut number) })?;
        // SAFETY: as above.
        refused(unsafe { count(&raw mut cards) })?;
        let card = |index: i32| -> Result<(String, usize), NoDriver> {
            let (mut device, mut bytes, mut text) = (0, 0, [0u8; 128]);
            // SAFETY: writes one number.
            refused(unsafe { get(&raw mut device, index) })?;
            // SAFETY: writes at most as many bytes as is said, with a zero at the end.
            refused(unsafe { name(text.as_mut_ptr().cast(), text.len() as i32, device) })?;
            // SAFETY: writes one number.
            refused(unsafe { memory(&raw mut bytes, device) })?;
            let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            Ok((String::from_utf8_lossy(&text[..length]).into_owned(), bytes))
        };
        let cards = (0..cards).map(card).collect::<Result<_, _>>()?;
        // The driver's threads outlive its library.
        std::mem::forget(library);
        Ok(Self { cuda: (number / 1000, number % 1000 / 10), cards })
    }
}

fn refused(status: i32) -> Result<(), NoDriver> {
    if status == 0 { Ok(()) } else { Err(NoDriver::Refuses(status)) }
}
