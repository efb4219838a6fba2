//! Assigns cells to nodes, notifies them of crossings, admits players.
