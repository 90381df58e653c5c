//! The known name that a mistyped one was probably meant to be.
//!
//! Distance is counted in letters added, left out or changed. Nothing near enough is no suggestion: a
//! wrong one is worse than none.

/// The nearest of `known`, when it is near.
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = typed.chars().count().div_ceil(3).max(2);
    known
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .min()
        .filter(|(distance, _)| *distance <= near)
        .map(|(_, name)| name.to_owned())
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_word_finds_none() {
        let known = ["listen", "data_dir", "database_url"];
        assert_eq!(nearest("lsten", known).as_deref(), Some("listen"));
        assert_eq!(
            nearest("database-url", known).as_deref(),
            Some("database_url")
        );
        assert_eq!(nearest("rack", known), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
