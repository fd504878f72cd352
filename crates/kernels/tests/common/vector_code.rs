//! That vector operations are instructions: a closure or function that is not inlined into the code of a level is compiled for the baseline
//! of the target, where each of them is a call. Such functions are symbols of the test program, in which all kernels that its tests
//! use are linked.

/// Names of the functions in the symbol table of a 64-bit ELF file, as far as it is one.
fn functions(file: &[u8]) -> Option<Vec<String>> {
    fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
        let mut value = [0; 8];
        value[..len].copy_from_slice(bytes.get(at..at + len)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    }
    const SYMBOL_TABLE: usize = 2;
    const FUNCTION: u8 = 2;
    let (headers, size) = (number(file, 0x28, 8)?, number(file, 0x3a, 2)?);
    let section = |index: usize| -> Option<(usize, usize, &[u8])> {
        let header = file.get(headers + index * size..)?;
        let (start, len) = (number(header, 0x18, 8)?, number(header, 0x20, 8)?);
        Some((number(header, 4, 4)?, number(header, 0x28, 4)?, file.get(start..start + len)?))
    };
    let (_, link, symbols) =
        (0..number(file, 0x3c, 2)?).filter_map(section).find(|(kind, ..)| *kind == SYMBOL_TABLE)?;
    let (.., names) = section(link)?;
    let mut functions = Vec::new();
    for symbol in symbols.chunks_exact(24).filter(|symbol| symbol[4] & 15 == FUNCTION) {
        let name = names.get(number(symbol, 0, 4)?..)?.split(|byte| *byte == 0).next()?;
        functions.push(String::from_utf8_lossy(name).into_owned());
    }
    Some(functions)
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn vector_operations_are_not_calls() {
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let functions = functions(&file).unwrap();
    // Without symbols the test would prove nothing.
    assert!(functions.iter().any(|name| name.contains("nnunet_kernels")), "no symbols in the test program");
    // Loads and stores that seldom run may stay calls at the optimisation level of tests, to functions with the right instructions.
    let is_operation = |name: &&String| {
        let is_memory = name.contains("_loadu_") || name.contains("_storeu_");
        name.contains("core_arch") && name.contains("_mm") && !is_memory
    };
    let calls: Vec<_> = functions.iter().filter(is_operation).collect();
    assert!(calls.is_empty(), "compiled without the instructions of their level: {calls:?}");
}
