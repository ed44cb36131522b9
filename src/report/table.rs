// SPDX-License-Identifier: Apache-2.0
//! Columns as wide as they need to be.

/// Rows with aligned columns, two blanks between them; the last column is left ragged.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [["a".to_string(), "b".to_string()], ["long".to_string(), "c".to_string()]];
        assert_eq!(super::table(&rows), "a     b\nlong  c\n");
    }
}
