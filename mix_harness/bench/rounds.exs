defmodule Bench.Rounds do
  @moduledoc """
  Jobs that take turns: in each round every job runs once, and each round begins with another one. Jobs
  that are compared stand beside each other. So what the machine does meanwhile hits all of them alike, and a
  ratio of two jobs can be taken within a round.
  """

  @doc "Runs `jobs`, a list of `{key, fun}`; returns `%{key => [result of each round]}`."
  def run(jobs, rounds, what) do
    results =
      for round <- 1..rounds do
        progress("#{what}, round #{round} of #{rounds}")
        jobs |> rotate((round - 1) * (div(length(jobs), rounds) + 1)) |> Enum.map(&one/1)
      end

    results |> Enum.concat() |> Enum.group_by(&elem(&1, 0), &elem(&1, 1))
  end

  defp one({key, fun}), do: {key, fun.()}

  defp rotate(list, by) do
    {front, back} = Enum.split(list, rem(by, length(list)))
    back ++ front
  end

  @doc "The rounds of one closed loop (`Bench.Load`) as series: a list of numbers for each quantity."
  def series(results) do
    cpus = for %{cpu: cpu} <- results, do: cpu

    %{
      calls_per_s: for(r <- results, do: r.calls * 1_000_000 / r.us),
      p50_us: for(r <- results, do: us(r.p50)),
      p99_us: for(r <- results, do: us(r.p99)),
      p999_us: for(r <- results, do: us(r.p999)),
      cpu_us:
        for part <- [:beam, :between, :python], cpus != [], into: %{} do
          {part, for(cpu <- cpus, do: cpu[part])}
        end
    }
  end

  # No call lay inside of the window.
  defp us(0), do: nil
  defp us(ns), do: ns / 1000

  @doc "Says on standard error what is done now."
  def progress(text), do: IO.puts(:stderr, "bench: #{text}")
end
