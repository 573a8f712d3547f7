# harness/micro.py: `bench micro`: the Google Benchmark programs of benchmarks/micro, as a table.
#
# The time is the processor's, the median of some repetitions; a rate is of bytes, or of what the
# benchmark counts.
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess

from harness.report import table
from harness.run import machine

UNITS = {'ns': 1, 'us': 1e3, 'ms': 1e6, 's': 1e9}
REPETITIONS = 5


def short(value):
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'


def duration(nanoseconds):
    for name, unit in reversed(UNITS.items()):
        if nanoseconds >= unit:
            return f'{short(nanoseconds / unit)} {name}'
    return f'{short(nanoseconds)} ns'


def rate(row):
    if 'bytes_per_second' in row:
        return f'{short(row["bytes_per_second"] / 2**20)} MiB/s'
    return f'{short(row["items_per_second"] / 1e6)} M/s'


def rows_of(report):
    """Cells of the medians, in the program's order."""
    for row in report['benchmarks']:
        if row.get('aggregate_name') == 'median':
            yield [f'`{row["run_name"]}`', duration(row['cpu_time'] * UNITS[row['time_unit']]),
                   rate(row)]


def run(options):
    said = subprocess.run([options.program, '--benchmark_format=json',
                           f'--benchmark_repetitions={REPETITIONS}', '--benchmark_min_time=0.1',
                           '--benchmark_report_aggregates_only=true'],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    print('# Inner loops\n')
    print(f'Made by `scripts/bench micro`; {machine()}.')
    print(f'Processor time, medians of {REPETITIONS}; the coders\' rate is of binary decisions.\n')
    print('\n'.join(table(['benchmark', 'time', 'rate'], rows_of(json.loads(said)))), end='')
    return 0
