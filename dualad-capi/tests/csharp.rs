//! The C# code of docs/c.md calls the functions of the header with their parameters.

use std::collections::BTreeMap;
use std::path::Path;

/// The type of the result, and the type and name of each parameter.
type Function = (String, Vec<(String, String)>);

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Splits `const char *name` or `out Region region` into its type and its name.
fn typed(declaration: &str) -> (String, String) {
    let declaration = declaration.trim();
    let end = declaration.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    (declaration[..end].replace(' ', ""), declaration[end..].to_owned())
}

/// Returns the functions that are declared in a text, `TYPE dualad_NAME(TYPE NAME, ...);`.
fn functions(text: &str) -> BTreeMap<String, Function> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = BTreeMap::new();
    for declaration in text.split(';') {
        let Some((before, parameters)) = declaration.split_once('(') else { continue };
        let (before, name) = typed(before);
        let Some(parameters) = parameters.strip_suffix(')').filter(|_| name.starts_with("dualad_")) else { continue };
        let parameters = parameters.split(',').filter(|parameter| !["", "void"].contains(&parameter.trim()));
        found.insert(name, (before, parameters.map(typed).collect()));
    }
    found
}

/// Returns the header without its comments and lines for the preprocessor.
fn header() -> String {
    let text = read("include/dualad.h");
    let code = text.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code)).collect::<String>();
    code.lines().filter(|line| !line.starts_with('#') && !line.starts_with("extern")).collect::<Vec<_>>().join(" ")
}

/// Returns the C# code without comments.
fn csharp() -> String {
    let document = read("../docs/c.md");
    let blocks = document.split("```csharp\n").skip(1).filter_map(|block| block.split("```").next());
    let code = blocks.collect::<String>();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns the declarations of the library's functions in C# code, without modifiers.
fn imported(code: &str) -> String {
    let declarations = code.split("internal static extern ").skip(1).filter_map(|text| text.split(';').next());
    declarations.map(|declaration| format!("{declaration};\n")).collect()
}

/// Returns the types of C# that stand for a type of C.
fn counterparts(c: &str) -> &'static [&'static str] {
    match c {
        "constchar*" => &["[MarshalAs(Utf8)]string", "IntPtr"],
        "constuint8_t*" => &["byte[]", "IntPtr"],
        "uint32_t" => &["uint"],
        "int32_t" | "DualadStatus" | "DualadVerdict" => &["int"],
        "size_t" => &["UIntPtr", "nuint"],
        "float" => &["float"],
        "void" => &["void"],
        "DualadDetector**" => &["outDetectorHandle"],
        "DualadInspection**" => &["outInspectionHandle"],
        "DualadDetector*" | "DualadInspection*" => &["IntPtr"],
        "constDualadDetector*" => &["DetectorHandle"],
        "constDualadInspection*" => &["InspectionHandle"],
        "constDualadOptions*" => &["IntPtr"],
        "DualadRegion*" => &["outRegion"],
        _ => &[],
    }
}

#[test]
fn the_declarations_are_those_of_the_header() {
    let (header, csharp) = (functions(&header()), functions(&imported(&csharp())));
    assert!(header.len() > 25 && csharp.len() >= 10, "{} and {} functions", header.len(), csharp.len());
    for (name, (result, parameters)) in &csharp {
        let (c_result, c_parameters) = header.get(name).unwrap_or_else(|| panic!("the header has no {name}"));
        assert!(counterparts(c_result).contains(&result.as_str()), "{name}: {result} for {c_result}");
        assert_eq!(parameters.len(), c_parameters.len(), "{name}");
        for ((kind, parameter), (c_kind, c_parameter)) in parameters.iter().zip(c_parameters) {
            assert_eq!(parameter, c_parameter, "{name}");
            assert!(counterparts(c_kind).contains(&kind.as_str()), "{name}, {parameter}: {kind} for {c_kind}");
        }
    }
}

/// The fields of the structure `Region`, in their order and with their sizes.
#[test]
fn the_region_is_that_of_the_header() {
    let fields = |body: &str| {
        let mut fields = Vec::new();
        for declaration in body.split(';') {
            let mut words = declaration.split_whitespace().filter(|word| *word != "public");
            let Some(kind) = words.next() else { continue };
            let names = words.collect::<String>().replace('_', "").to_lowercase();
            fields.extend(names.split(',').map(|name| (kind.trim_end_matches("32_t").to_owned(), name.to_owned())));
        }
        fields
    };
    let (header, csharp) = (header(), csharp());
    let before = header.split_once("} DualadRegion;").unwrap().0;
    let after = csharp.split_once("public struct Region").unwrap().1;
    let found = fields(after.split(['{', '}']).nth(1).unwrap());
    assert_eq!(found, fields(before.rsplit('{').next().unwrap()));
    assert_eq!(found.len(), 12);
}
