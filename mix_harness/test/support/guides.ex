# The guides as modules, so that their examples are doctests: all those of a guide are one test, in their
# order. `pool` in them is that of Krait.Guide.
for path <- Path.wildcard(Path.expand("../../../docs/guides/*.md", __DIR__)) do
  examples =
    path
    |> File.read!()
    |> String.split("\n\n")
    |> Enum.filter(&String.starts_with?(&1, "    iex>"))
    |> Enum.map_join("\n", &String.trim_trailing/1)

  defmodule Module.concat(Krait.Guides, path |> Path.basename(".md") |> Macro.camelize()) do
    @external_resource path
    @moduledoc Regex.replace(~r/(?<![.\w])pool\b/, examples, "Krait.pool(Krait.Guide)")
  end
end

defmodule Krait.Guides do
  @moduledoc "Made again when there is another guide."
  @pattern Path.expand("../../../docs/guides/*.md", __DIR__)
  @paths Path.wildcard(@pattern)

  @doc false
  def __mix_recompile__?, do: Path.wildcard(@pattern) != @paths
end

defmodule Krait.GuideEcho do
  @moduledoc "The process that the guide to calling back calls."
  use GenServer

  @impl true
  def init(state), do: {:ok, state}

  @impl true
  def handle_call(request, _from, state), do: {:reply, [:echo, request], state}
end
