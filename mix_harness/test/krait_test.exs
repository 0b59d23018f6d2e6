defmodule KraitTest do
  # The examples of the documentation, against one node that was started as they say.
  use ExUnit.Case, async: true

  setup_all do
    collector = Krait.Collector.start(nil)
    options = Krait.TestNode.defaults(collector)
    start_supervised!({Krait, Keyword.merge(options, register: Krait.Demo, size: 2)})
    :ok
  end

  doctest Krait
  doctest Krait.Input
end
