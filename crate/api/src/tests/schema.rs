//! Checks a value against a JSON schema: types, required fields, items, properties, choices and combinations.
//! It does *not* check `pattern` and `format`, and of patterns of field names only how they begin.

use serde_json::Value;

/// What of `value` does not fit `schema`, with the path to it; empty if all fits.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "$", &mut found);
    found
}

fn check(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if !has_type(&schema["type"], value) {
        found.push(format!("{at} is not of the type {}: {value}", schema["type"]));
        return;
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|choices| !choices.contains(value))
    {
        found.push(format!("{at} is none of {}: {value}", schema["enum"]));
    }
    for part in list(&schema["allOf"]) {
        check(part, value, at, found);
    }
    for choices in [&schema["oneOf"], &schema["anyOf"]] {
        let fits = |choice: &Value| problems(choice, value).is_empty();
        if choices.is_array() && !list(choices).iter().any(fits) {
            found.push(format!("{at} fits no choice: {value}"));
        }
    }
    check_object(schema, value, at, found);
    check_items(schema, value, at, found);
}

fn check_object(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for field in list(&schema["required"]).iter().filter_map(Value::as_str) {
        if !object.contains_key(field) {
            found.push(format!("{at} lacks {field}"));
        }
    }
    for (field, value) in object {
        let named = &schema["properties"][field];
        let schema = if named.is_object() {
            named
        } else {
            by_pattern(schema, field).unwrap_or(&schema["additionalProperties"])
        };
        check(schema, value, &format!("{at}.{field}"), found);
    }
    let count = object.len() as u64;
    let (least, most) = (schema["minProperties"].as_u64(), schema["maxProperties"].as_u64());
    if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
        found.push(format!("{at} has {count} fields"));
    }
}

/// The schema of fields that begin as `field` does: the specification has patterns of the form `^@` only.
fn by_pattern<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    let patterns = schema["patternProperties"].as_object()?;
    let fits = |pattern: &str| {
        pattern
            .strip_prefix('^')
            .is_some_and(|start| field.starts_with(start))
    };
    patterns
        .iter()
        .find(|(pattern, _)| fits(pattern))
        .map(|(_, schema)| schema)
}

fn check_items(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if schema["items"].is_object() {
        for (index, item) in list(value).iter().enumerate() {
            check(&schema["items"], item, &format!("{at}[{index}]"), found);
        }
    }
}

fn has_type(names: &Value, value: &Value) -> bool {
    match names {
        Value::String(name) => is_a(name, value),
        Value::Array(names) => names.iter().any(|name| has_type(name, value)),
        _ => true,
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn problems_are_found() {
    use serde_json::json;
    let schema = json!({
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": ["string", "null"]}, "b": {"type": "array", "items": {"type": "integer"}}},
        "patternProperties": {"^@": {"maxProperties": 0}},
        "additionalProperties": {"enum": ["x"]},
    });
    assert!(problems(&schema, &json!({"a": null, "b": [1], "c": "x"})).is_empty());
    for wrong in [
        json!([]),
        json!({}),
        json!({"a": 1}),
        json!({"a": "", "b": ["1"]}),
        json!({"a": "", "c": "y"}),
        json!({"a": "", "@c": {"d": 1}}),
    ] {
        assert_eq!(problems(&schema, &wrong).len(), 1, "{wrong}");
    }
}
