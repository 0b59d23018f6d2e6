# The suites run in a distributed BEAM of their own: a node named after this run, a cookie nobody else
# has. Every test starts its own Krait node, so they all run at once; four at a time, since each of
# them starts processes and most machines that test have few cores.
Krait.Runner.distribute()

# What is awaited comes soon, and how soon depends on whoever else uses the machine: the default of 100 ms
# would be a coin that is tossed.
ExUnit.start(
  capture_log: true,
  max_cases: 4,
  timeout: 60_000,
  assert_receive_timeout: 10_000
)
