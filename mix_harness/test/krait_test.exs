defmodule KraitTest do
  # The examples of the documentation, against one node that was started as they say.
  use ExUnit.Case, async: true

  setup_all do
    collector = Krait.Collector.start(nil)
    options = Krait.TestNode.defaults(collector)
    start_supervised!({Krait, Keyword.merge(options, register: Krait.Demo, size: 2)})

    nodes =
      for i <- 1..2 do
        name = Krait.TestNode.unique_name()
        options = Keyword.merge(options, name: name, size: 1)
        start_supervised!({Krait, options}, id: i)
        name
      end

    start_supervised!({Krait.Cluster, name: Krait.Demo.Cluster, nodes: nodes})
    :ok
  end

  doctest Krait
  doctest Krait.Doctor, except: [:moduledoc]

  doctest Krait.Admin

  doctest Krait.Cluster
  doctest Krait.Input
end
