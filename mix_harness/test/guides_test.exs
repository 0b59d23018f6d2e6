defmodule Krait.GuidesTest do
  # The guides are run: their Python goes to files, their examples are doctests.
  use ExUnit.Case, async: true

  @guides Path.wildcard(Path.expand("../../docs/guides/*.md", __DIR__))

  setup_all do
    directory = Krait.Case.temporary("guides")
    File.mkdir_p!(directory)
    on_exit(fn -> File.rm_rf!(directory) end)

    # The comment with the file's name is its first line, as the guide shows it.
    modules =
      for path <- @guides,
          [_, code, name] <- Regex.scan(~r/```python\n(# (\w+)\.py\n.*?)```/s, File.read!(path)) do
        File.write!(Path.join(directory, name <> ".py"), code)
        name
      end

    options = [register: Krait.Guide, pythonpath: [directory], preload: modules, rpc: true]
    defaults = Krait.TestNode.defaults(Krait.Collector.start(nil))
    start_supervised!({Krait, Keyword.merge(defaults, options)})
    :ok
  end

  for path <- @guides do
    doctest Module.concat(Krait.Guides, path |> Path.basename(".md") |> Macro.camelize())
  end
end
