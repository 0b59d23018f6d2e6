# The suites run in a distributed BEAM of their own: a node named after this run, a cookie nobody else
# has. Every test starts its own Krait node, so they all run at once; four at a time, since each of
# them starts processes and most machines that test have few cores.
Krait.Runner.distribute()
ExUnit.start(capture_log: true, max_cases: 4, timeout: 60_000)
