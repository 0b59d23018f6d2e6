defmodule Bench.Options do
  @moduledoc "The command line of the benchmark; what is not said has a default here and nowhere else."

  alias Bench.{Sides, Values}

  @root Path.expand("../..", __DIR__)
  @parts [:calls, :payloads, :ways, :scale]
  @strict [
    parts: :string,
    quick: :boolean,
    rounds: :integer,
    seconds: :float,
    sides: :string,
    concurrency: :string,
    node: :string,
    json: :string,
    from: :string,
    report: :string,
    help: :boolean
  ]

  @doc "The options as a map, or `{:error, text}`."
  def parse(argv) do
    {given, rest, wrong} = OptionParser.parse(argv, strict: @strict)

    with [] <- rest ++ wrong,
         {:ok, parts} <- among("--parts", words(given[:parts]), @parts),
         {:ok, sides} <- among("--sides", letters(given[:sides]), Keyword.keys(Sides.all())) do
      {:ok, given |> Map.new() |> Map.merge(%{parts: parts, sides: sides}) |> complete()}
    else
      {:error, _} = error -> error
      other -> {:error, "do not understand #{inspect(other)}; --help tells what there is"}
    end
  end

  defp words(nil), do: nil
  defp words(text), do: String.split(text, ",", trim: true)

  defp letters(nil), do: nil
  defp letters(text), do: String.graphemes(text)

  defp among(_, nil, all), do: {:ok, all}

  defp among(option, given, all) do
    case Enum.reject(given, fn word -> word in Enum.map(all, &to_string/1) end) do
      [] -> {:ok, Enum.filter(all, &(to_string(&1) in given))}
      [wrong | _] -> {:error, "#{option}: expected some of #{Enum.join(all, " ")}, found #{wrong}"}
    end
  end

  defp complete(given) do
    quick = Map.get(given, :quick, false)
    concurrency = (given[:concurrency] || if(quick, do: "1,64", else: "1,8,64,1024")) |> words()

    %{
      quick: quick,
      rounds: given[:rounds] || if(quick, do: 2, else: 5),
      window_ms: round((given[:seconds] || if(quick, do: 0.03, else: 0.5)) * 1000),
      warm_ms: if(quick, do: 10, else: 50),
      concurrency: Enum.map(concurrency, &String.to_integer/1),
      payloads: if(quick, do: Values.names() -- ["16 MB"], else: Values.names()),
      # Where there is nothing but a number of processes, items, requests or peers to be made smaller.
      scale: if(quick, do: 0.01, else: 1.0),
      most: if(quick, do: 4, else: 64),
      starts: if(quick, do: 1, else: 5),
      start_workers: if(quick, do: [1, 2], else: [4, 64]),
      replacements: if(quick, do: 5, else: 200),
      idle_ms: if(quick, do: 100, else: 10_000),
      more_args: OptionParser.split(given[:node] || "")
    }
    |> Map.merge(Map.take(given, [:parts, :sides, :json, :from, :report, :help]))
    |> Map.merge(files())
  end

  defp files do
    %{
      krait: System.get_env("KRAIT_BIN") || Path.join(@root, "priv/krait"),
      floor: System.get_env("KRAIT_BENCH_FLOOR") || Path.join(@root, "build/release/bench_floor"),
      echo_loop: Path.join(__DIR__, "echo_loop.py"),
      pythonpath: __DIR__
    }
  end
end
