//! The shape of a JSON body: named places, nested by JSON pointers, in the order they were configured.
//!
//! Owns nesting and order only. Values are serialised by `serde_json`, so that no text can leave its string.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Deepest nesting of a place: no vendor goes beyond five.
const DEPTH_LIMIT: usize = 16;

/// A place in the tree.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Node {
    /// Just made; filled before the insertion ends, or the body has no fields at all.
    #[default]
    Empty,
    /// The value of the field with this index.
    Leaf(usize),
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
}

impl Node {
    /// Gives the field `index` the place called `name`: a plain key, or a JSON pointer (RFC 6901) when it starts with `/`.
    /// A number in a pointer is an array index; items are given in order, from 0.
    ///
    /// # Errors
    /// A sentence: the place is taken, mixes an array with an object, skips an item, or is too deep.
    pub(super) fn insert(&mut self, name: &str, index: usize) -> Result<(), String> {
        let Some(pointer) = name.strip_prefix('/') else {
            return self.member(name.to_owned()).and_then(|node| node.fill(index));
        };
        if pointer.split('/').count() > DEPTH_LIMIT {
            return Err(format!("is nested deeper than {DEPTH_LIMIT}"));
        }
        let mut node = self;
        for token in pointer.split('/') {
            node = match token.parse() {
                Ok(at) => node.item(at)?,
                Err(_) => node.member(token.replace("~1", "/").replace("~0", "~"))?,
            };
        }
        node.fill(index)
    }

    fn fill(&mut self, index: usize) -> Result<(), String> {
        match self {
            Self::Empty => {
                *self = Self::Leaf(index);
                Ok(())
            }
            Self::Leaf(_) | Self::Object(_) | Self::Array(_) => Err("is given twice".to_owned()),
        }
    }

    fn member(&mut self, key: String) -> Result<&mut Self, String> {
        if *self == Self::Empty {
            *self = Self::Object(Vec::new());
        }
        let Self::Object(members) = self else {
            return Err("treats a value or an array as an object".to_owned());
        };
        let at = match members.iter().position(|(name, _)| *name == key) {
            Some(at) => at,
            None => {
                members.push((key, Self::Empty));
                members.len() - 1
            }
        };
        Ok(&mut members[at].1)
    }

    fn item(&mut self, at: usize) -> Result<&mut Self, String> {
        if *self == Self::Empty {
            *self = Self::Array(Vec::new());
        }
        let Self::Array(items) = self else {
            return Err("treats a value or an object as an array".to_owned());
        };
        if at > items.len() {
            return Err("skips an array item: items are given in order, from 0".to_owned());
        }
        if at == items.len() {
            items.push(Self::Empty);
        }
        Ok(&mut items[at])
    }
}

/// A tree with the values of its leaves. A leaf that is `null` is left out of its object, and so is an object of nothing else.
pub(super) struct Tree<'a> {
    pub(super) node: &'a Node,
    pub(super) values: &'a [Value],
}

impl Tree<'_> {
    /// Whether anything in it has a value.
    fn is_present(&self) -> bool {
        let values = self.values;
        match self.node {
            Node::Empty => true,
            Node::Leaf(index) => !values[*index].is_null(),
            Node::Object(members) => members.iter().any(|(_, node)| Tree { node, values }.is_present()),
            Node::Array(items) => items.iter().any(|node| Tree { node, values }.is_present()),
        }
    }
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.values;
        match self.node {
            Node::Empty => serializer.serialize_map(Some(0))?.end(),
            Node::Leaf(index) => values[*index].serialize(serializer),
            Node::Object(members) => {
                let mut map = serializer.serialize_map(None)?;
                for (key, tree) in members.iter().map(|(key, node)| (key, Tree { node, values })) {
                    if tree.is_present() {
                        map.serialize_entry(key, &tree)?;
                    }
                }
                map.end()
            }
            Node::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for node in items {
                    sequence.serialize_element(&Tree { node, values })?;
                }
                sequence.end()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(places: &[&str]) -> Result<String, String> {
        let mut node = Node::default();
        for (index, name) in places.iter().enumerate() {
            node.insert(name, index)?;
        }
        let values: Vec<Value> = (0..places.len()).map(Value::from).collect();
        Ok(serde_json::to_string(&Tree { node: &node, values: &values }).unwrap())
    }

    #[test]
    fn plain_names_keep_their_order_even_when_they_look_like_numbers() {
        assert_eq!(body(&["z", "a", "0", "b.c"]).unwrap(), r#"{"z":0,"a":1,"0":2,"b.c":3}"#);
        assert_eq!(body(&[]).unwrap(), "{}");
    }

    #[test]
    fn pointers_nest_objects_and_arrays() {
        assert_eq!(
            body(&["/messages/0/to/0/n", "/messages/0/text", "/messages/1/text", "/a~1b~0"]).unwrap(),
            r#"{"messages":[{"to":[{"n":0}],"text":1},{"text":2}],"a/b~":3}"#
        );
        assert_eq!(body(&["/0/x"]).unwrap(), r#"[{"x":0}]"#);
    }

    #[test]
    fn what_has_no_value_is_left_out_and_what_holds_nothing_else_too() {
        let mut node = Node::default();
        for (index, name) in ["a", "/b/c", "/b/d/e", "/f/0/g"].iter().enumerate() {
            node.insert(name, index).unwrap();
        }
        let of = |values: [Value; 4]| serde_json::to_string(&Tree { node: &node, values: &values }).unwrap();
        let (one, none) = (Value::from(1), Value::Null);
        assert_eq!(of([none.clone(), one.clone(), none.clone(), none.clone()]), r#"{"b":{"c":1}}"#);
        assert_eq!(of([one.clone(), none.clone(), one, none]), r#"{"a":1,"b":{"d":{"e":1}}}"#);
    }

    #[test]
    fn contradictions_are_refused() {
        for places in [&["a", "a"][..], &["a", "/a/b"], &["/a/0", "/a/b"], &["/a/b", "/a/0"], &["/a/1"], &["/a/b", "a"]]
        {
            assert!(body(places).is_err(), "{places:?}");
        }
        assert!(body(&["/x".repeat(17).as_str()]).is_err());
    }

    proptest! {
        #[test]
        fn no_place_panics_and_what_is_accepted_is_json(places in prop::collection::vec("/?[a-c0-2/~]{0,8}", 0..6)) {
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            if let Ok(body) = body(&places) {
                prop_assert!(serde_json::from_str::<Value>(&body).is_ok());
            }
        }
    }
}
