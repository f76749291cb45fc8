use super::*;

#[test]
fn every_row_is_in_the_documentation_with_its_meaning() {
    let page = include_str!("../../../../docs/doctor.md");
    for row in Row::ALL {
        let line = format!("| `{}` | {} |", row.as_str(), row.meaning());
        assert!(page.contains(&line), "docs/doctor.md lacks {line}");
    }
}

#[test]
fn every_stage_has_its_exit_code_in_the_documentation() {
    let page = include_str!("../../../../docs/doctor.md");
    for stage in Stage::ALL {
        let begin = format!("| {} | `{}` |", stage.exit_code(), stage.as_str());
        assert!(page.contains(&begin), "docs/doctor.md lacks {begin}");
    }
}
