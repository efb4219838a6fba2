//! Follows docs/OPERATIONS.md: what the page says about running a mesh by hand is what is run here.
//!
//! Every `sh` block behind a `<!-- test: by-hand -->` counts, in order, and each is run by a shell of its own in one
//! folder:
//!
//! * The first sets the variables, and is put before each of the others; the addresses are set from outside.
//! * A block that ends with `&` is one process that goes on. It is started here, without the `&`, and with
//!   `--die-with-parent`, so that it ends even if this test is killed.
//! * Once all go on, any other block waits until the mesh is whole.
//!
//! Deliberately absent: times. Whatever takes its time is waited for.

mod support;

use support::{ByHand, NODES, PAGE, marked_blocks};

#[test]
fn the_page_on_running_a_mesh_by_hand_is_true() {
    let blocks = marked_blocks(PAGE);
    let (variables, blocks) = blocks.split_first().expect("the page has marked blocks");
    let mut mesh = ByHand::new(variables);
    for block in blocks {
        match block.strip_suffix('&') {
            Some(command) => mesh.start(command.trim_end()),
            None => {
                if mesh.running.len() > NODES {
                    mesh.wait_until_whole();
                }
                mesh.run(block);
            }
        }
    }
    assert_eq!(mesh.running.len(), 1 + NODES, "the page starts a coordinator and {NODES} nodes");
    mesh.check_end_state();
    mesh.stop();
}
