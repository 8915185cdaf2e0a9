/* Ends one instruction set: its table of functions, and the names made free for the next. */
static const struct functions FUNCTIONS = {
    .isa = TEXT(ISA), .lanes = LANES, .scans_by_table = SCANS_BY_TABLE,
    .to_lanes = NAME(to_lanes), .maxsim = NAME(maxsim), .scan = NAME(scan), .fde = NAME(fde)};
#undef ISA
#undef LANES
#undef BYTES
#undef ROWS
#undef GROUPS
#undef LOOKUP_TOKENS
#undef LOOKUP_VECTORS
#undef TABLE
#undef LOAD_TABLE
#undef ROWS_ARE_BIASED
#undef SCANS_BY_TABLE
#undef vf
#undef vi
#undef vb
#undef vw
#undef DOT4
#undef LOOKUP
#undef PAGE_BF16
#undef EACH_TILE
#undef TILE_F
#undef TILE_I8
#undef TILE_BF16
#undef WITH_DIM
