"""fimi-calibrate: what a training step costs on a board, clock by clock, measured and fitted (see tools/README.md).

`columns`, `rows`, `windows`: the CSV and what of it counts; `opps`, `lines`, `models`, `calibrate`, `optimum`,
`predict`: the mathematics, pure; `schedule`, `measure`, `sweep`: driving a board; `radio` and `radio_file`: the same
for an upload; `text`, `figure`, `profile_file`, `cli`: what people and other programs see.
"""
