"""fimi-calibrate: what a training step costs on a board, clock by clock, measured and fitted (see tools/README.md).

`csv_text`, `rows`, `windows`: the CSV and what of it counts. `opps`, `lines`, `models`, `calibrate`, `optimum`,
`predict`, `compare`, `radio`: the mathematics, pure. `schedule` (pure), `measure`, `sweep`, `sweep_file`: driving a
board. `summary`, `figure`, `profile_file`, `cli`: what people and other programs see.
"""
