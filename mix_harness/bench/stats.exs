defmodule Bench.Stats do
  @moduledoc "The few statistics of the benchmark: medians, percentiles, and how far rounds differ."

  @doc "The middle one of some numbers, or the mean of the middle two."
  def median(numbers) do
    sorted = Enum.sort(numbers)
    count = length(sorted)
    high = Enum.at(sorted, div(count, 2))
    if rem(count, 2) == 1, do: high, else: (Enum.at(sorted, div(count, 2) - 1) + high) / 2
  end

  @doc "The smallest number that a share of them does not exceed."
  def percentile(numbers, share) do
    sorted = Enum.sort(numbers)
    Enum.at(sorted, max(ceil(share * length(sorted)) - 1, 0))
  end

  @doc """
  The noise of some rounds: half of what lies between the highest and the lowest, as a share of the
  median. With five rounds the median of a further five is rarely farther away than that.
  """
  def noise(numbers) do
    case median(numbers) do
      middle when middle == 0 -> 0.0
      middle -> (Enum.max(numbers) - Enum.min(numbers)) / 2 / abs(middle)
    end
  end
end
