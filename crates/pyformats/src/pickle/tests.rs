//! Pickles of Python in every protocol, round trips, and hostile input.

use proptest::prelude::*;

use super::*;

fn golden(protocol: u8) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pickle");
    std::fs::read(format!("{folder}/protocol{protocol}.pkl")).unwrap()
}

fn ints(values: &[i64]) -> Value {
    Value::List(values.iter().map(|&v| v.into()).collect())
}

/// What tests/golden/pickle/make.py wrote.
fn expected() -> Value {
    let f64s = |shape: &[usize], v: &[f64]| NdArray::from_f64s(shape.to_vec(), v).unwrap();
    let array = |dtype, shape: &[usize], bytes: &[u8]| -> Value {
        NdArray::new(dtype, shape.to_vec(), bytes.to_vec()).unwrap().into()
    };
    let tuple = |values: &[i64]| Value::Tuple(values.iter().map(|&v| v.into()).collect());
    let scalar = |dtype, bytes: &[u8]| Value::Scalar(Scalar::new(dtype, bytes).unwrap());
    let bbox = Value::List(vec![ints(&[0, 35]), ints(&[0, 51]), ints(&[-1, 70000])]);

    let mut locations = Dict::new();
    let arange: Vec<i64> = (0..12).collect();
    locations.push(1i64.into(), NdArray::from_i64s(vec![3, 4], &arange).unwrap().into());
    locations.push(tuple(&[1, 2]), NdArray::from_i64s(vec![2, 3], &arange[..6]).unwrap().into());
    locations.push("\u{e4}\u{1f600}".into(), NdArray::from_i64s(vec![0, 4], &[]).unwrap().into());

    let mut all = Dict::new();
    all.insert(
        "spacing",
        Value::List([1.2000000476837158, 0.5, 3.0].map(|v| Scalar::f64(v).into()).to_vec()),
    );
    all.insert("shape", tuple(&[35, 51, 35]));
    all.insert("bbox", bbox.clone());
    all.insert("class_locations", locations);
    all.insert("floats", Value::List([0.1, -0.0, f64::INFINITY, 1e-300].map(Value::Float).to_vec()));
    let mut minus_two_to_200 = vec![0; 25];
    minus_two_to_200.push(0xff);
    all.insert(
        "ints",
        Value::List(vec![
            0i64.into(),
            255i64.into(),
            256i64.into(),
            65536i64.into(),
            (-1i64).into(),
            (1i64 << 31).into(),
            i64::MIN.into(),
            Value::BigInt(vec![0, 0, 0, 0, 0, 0, 0, 0x80, 0]),
            Value::BigInt(minus_two_to_200),
            true.into(),
            false.into(),
            Value::None,
        ]),
    );
    all.insert(
        "arrays",
        Value::List(vec![
            array(Dtype::F32, &[2], &[1.5f32, -2.0].map(f32::to_le_bytes).concat()),
            f64s(&[2, 1], &[1.5, -2.0]).into(),
            array(Dtype::F16, &[2], &[0x00, 0x3e, 0x00, 0xc0]),
            array(Dtype::Bool, &[2], &[1, 0]),
            array(Dtype::I16, &[2], &[0xff, 0xff, 2, 0]),
            array(Dtype::U8, &[], &[7]),
        ]),
    );
    all.insert(
        "scalars",
        Value::List(vec![
            Scalar::f32(0.1).into(),
            Scalar::i64(-5).into(),
            scalar(Dtype::Bool, &[1]),
            scalar(Dtype::U8, &[200]),
            scalar(Dtype::F16, &[0, 0x38]),
        ]),
    );
    all.insert("bytes", Value::Bytes((0..=255).collect()));
    all.insert("bytearray", Value::Bytes(vec![0, 255]));
    all.insert("set", Value::Set(vec![7i64.into()]));
    all.insert("frozen", Value::Set(vec![tuple(&[1, 2])]));
    let ordered: Dict = [("b", 1i64), ("a", 2)].map(|(k, v)| (k.into(), v.into())).into_iter().collect();
    all.insert("ordered", ordered);
    all.insert("shared", Value::List(vec![bbox.clone(), bbox]));
    let empty = vec![Value::Tuple(vec![]), Value::List(vec![]), Value::Dict(Dict::new()), "".into()];
    all.insert("empty", Value::List(empty));
    all.insert("long", "x".repeat(300));
    all.into()
}

#[test]
fn reads_every_protocol_of_python() {
    for protocol in 0..=5 {
        let value = unpickle(&golden(protocol)).unwrap();
        for ((key, found), (_, expected)) in
            value.as_dict().unwrap().iter().zip(expected().as_dict().unwrap().iter())
        {
            assert_eq!(found, expected, "protocol {protocol}: {key:?}");
        }
        assert_eq!(value, expected(), "protocol {protocol}");
    }
}

#[test]
fn reads_back_what_it_writes() {
    for protocol in [Protocol::Two, Protocol::Four] {
        let bytes = pickle(&expected(), protocol).unwrap();
        assert_eq!(unpickle(&bytes).unwrap(), expected(), "{protocol:?}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for protocol in [0, 2, 4, 5] {
        let bytes = golden(protocol);
        for end in 0..bytes.len() {
            let error = unpickle(&bytes[..end]).unwrap_err();
            let known = matches!(error, PickleError::Truncated { .. } | PickleError::Malformed { .. });
            assert!(known, "protocol {protocol}, {end} bytes: {error}");
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    for protocol in [0, 2, 4] {
        let bytes = golden(protocol);
        for at in 0..bytes.len() {
            for change in [1u8, 0x40, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let _ = unpickle(&damaged);
            }
        }
    }
}

/// `os.system("touch /tmp/x")` on loading.
const SYSTEM_CALL: &[u8] = b"cos\nsystem\n(S'touch /tmp/x'\ntR.";

#[test]
fn calls_are_kept_and_never_run_nor_written() {
    let value = unpickle(SYSTEM_CALL).unwrap();
    assert_eq!(value, Value::object("os", "system", vec!["touch /tmp/x".into()]));
    let error = pickle(&value, Protocol::Four).unwrap_err();
    assert!(
        error.to_string().starts_with("os.system cannot be written to a pickle: Python would run it"),
        "{error}"
    );
    let class = Value::Global(Global { module: "builtins".into(), name: "eval".into() });
    assert!(pickle(&class, Protocol::Two).is_err());
}

#[test]
fn known_objects_are_written_again() {
    let device = Value::object("torch", "device", vec!["cuda".into(), 0i64.into()]);
    for protocol in [Protocol::Two, Protocol::Four] {
        assert_eq!(unpickle(&pickle(&device, protocol).unwrap()).unwrap(), device);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut deep = vec![b']'; 1_000_000];
    deep.extend(vec![b'a'; 999_999]);
    deep.push(b'.');
    assert_eq!(unpickle(&deep).unwrap_err(), PickleError::TooDeep { limit: 200 });
    let nested = (0..300).fold(Value::None, |inner, _| Value::List(vec![inner]));
    assert_eq!(pickle(&nested, Protocol::Two).unwrap_err(), PickleError::TooDeep { limit: 200 });
}

#[test]
fn a_list_within_itself_is_refused() {
    let error = unpickle(b"]q\x00h\x00a.").unwrap_err();
    assert!(error.to_string().contains("contain themselves"), "{error}");
}

/// Ten levels of a list that holds the level below a hundred times.
#[test]
fn repeated_sharing_is_refused() {
    let mut bytes = b"]q\x00".to_vec();
    for level in 1..=10u8 {
        bytes.extend([b']', b'q', level, b'(']);
        for _ in 0..100 {
            bytes.extend([b'h', level - 1]);
        }
        bytes.push(b'e');
    }
    bytes.push(b'.');
    assert!(matches!(unpickle(&bytes).unwrap_err(), PickleError::TooLarge { what: "values", .. }));
}

/// One text of a megabyte, encoded to bytes again and again.
#[test]
fn repeated_copies_are_refused() {
    let mut bytes = b"c_codecs\nencode\nq\x01X\x00\x00\x10\x00".to_vec();
    bytes.extend(vec![b'x'; 1 << 20]);
    bytes.extend(b"X\x06\x00\x00\x00latin1\x86q\x020");
    for _ in 0..1000 {
        bytes.extend(b"h\x01h\x02R0");
    }
    bytes.extend(b"N.");
    let error = unpickle(&bytes).unwrap_err();
    assert!(matches!(error, PickleError::TooLarge { what: "bytes of repeated values", .. }), "{error}");
}

#[test]
fn lying_sizes_are_refused() {
    // Text of 2^63 bytes, then an array whose shape needs more bytes than there are.
    assert_eq!(unpickle(b"\x8d\0\0\0\0\0\0\0\x80x.").unwrap_err(), PickleError::Truncated { len: 11 });
    let array = NdArray::from_i64s(vec![3], &[1, 2, 3]).unwrap();
    let mut bytes = pickle(&array.into(), Protocol::Four).unwrap();
    let shape = bytes.windows(4).position(|w| w == b"(K\x03t").unwrap();
    bytes[shape + 2] = 200;
    let error = unpickle(&bytes).unwrap_err();
    assert!(error.to_string().contains("24 bytes for an array of int64 of shape [200]"), "{error}");
}

#[test]
fn tensors_stay_within_their_storage() {
    let storage = StorageRef { dtype: Some(Dtype::F32), key: "0".into(), device: "cpu".into(), numel: 24 };
    let tensor = TensorRef {
        storage,
        dtype: Dtype::F32,
        offset: 0,
        shape: vec![2, 3, 4],
        stride: vec![12, 4, 1],
        requires_grad: false,
    };
    let read = |t: &TensorRef| unpickle(&pickle(&Value::Tensor(Box::new(t.clone())), Protocol::Two).unwrap());
    assert_eq!(read(&tensor).unwrap(), Value::Tensor(Box::new(tensor.clone())));
    for (offset, stride) in [(1, vec![12, 4, 1]), (0, vec![13, 4, 1]), (0, vec![usize::MAX / 2, 4, 1])] {
        let error = read(&TensorRef { offset, stride, ..tensor.clone() }).unwrap_err();
        assert!(error.to_string().contains("a tensor of shape [2, 3, 4] beyond its storage 0"), "{error}");
    }
}

#[test]
fn messages_say_what_is_wrong() {
    let message = |bytes: &[u8]| unpickle(bytes).unwrap_err().to_string();
    assert!(message(b"\x1f\x8b\x08").contains("byte 0x1f at offset 0 is no pickle instruction"));
    assert!(message(b"").contains("ends after 0 bytes"));
    assert!(message(b"a.").contains("an empty stack where a value is expected"));
    assert!(message(b"h\x07.").contains("memo number 7 where a number given before is expected"));
    assert!(message(b"\x80\x09N.").contains("a protocol newer than 5"));
    assert!(message(b"\x97.").contains("buffers outside the file"));
}

#[test]
fn reads_the_properties_of_the_reference() {
    let Some(path) = nnunet_testkit::shared::shared_path("reference/b2nd_sample/hippocampus_001.pkl") else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let value = unpickle(&bytes).unwrap();
    assert_eq!(value.get("spacing").unwrap().as_f64s().unwrap(), [1.0, 1.0, 1.0]);
    assert_eq!(value.get("shape_before_cropping").unwrap().as_usizes().unwrap(), [35, 51, 35]);
    let locations = value.get("class_locations").and_then(Value::as_dict).unwrap();
    let shapes: Vec<_> =
        locations.iter().map(|(k, v)| (k.as_i64().unwrap(), v.as_array().unwrap().shape())).collect();
    assert_eq!(shapes, [(1, &[1324, 4][..]), (2, &[1624, 4][..])]);
    assert_eq!(unpickle(&pickle(&value, Protocol::Four).unwrap()).unwrap(), value);
}

/// The bytes that check.py has read with Python and compared with make.py's values.
#[test]
fn writes_what_python_was_seen_to_read() {
    for (protocol, name) in [(Protocol::Two, "written2.pkl"), (Protocol::Four, "written4.pkl")] {
        let path = format!("{}/tests/golden/pickle/{name}", env!("CARGO_MANIFEST_DIR"));
        let written = pickle(&expected(), protocol).unwrap();
        assert_eq!(
            std::fs::read(path).unwrap_or_default(),
            written,
            "write the file and run check.py: {name}"
        );
    }
}

#[test]
fn counts_are_limited() {
    let limits = Limits { max_values: 100, ..Limits::default() };
    for opcode in [b"N", b"(", b"]"] {
        let many = opcode.repeat(200);
        let error = unpickle_prefix(&many, &limits).unwrap_err();
        assert_eq!(error, PickleError::TooLarge { what: "values", limit: 100 });
    }
    let limits = Limits { max_bytes: 10, ..Limits::default() };
    let error = unpickle_prefix(&[b'N'; 11], &limits).unwrap_err();
    assert_eq!(error, PickleError::TooLarge { what: "bytes", limit: 10 });
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300..1e300f64).prop_map(Value::Float),
        ".{0,300}".prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        any::<i64>().prop_map(|v| Scalar::i64(v).into()),
        prop::collection::vec(any::<i64>(), 0..20)
            .prop_map(|v| NdArray::from_i64s(vec![v.len()], &v).unwrap().into()),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Tuple),
            prop::collection::vec((".{0,9}".prop_map(Value::Str), inner), 0..8)
                .prop_map(|entries| Value::Dict(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back(value in any_value()) {
        for protocol in [Protocol::Two, Protocol::Four] {
            prop_assert_eq!(&unpickle(&pickle(&value, protocol).unwrap()).unwrap(), &value);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpickle(&bytes);
    }
}
