//! A faulty network by itself, over a scripted one.

mod rule_set;
