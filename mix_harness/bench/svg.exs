defmodule Bench.Svg do
  @moduledoc """
  As much SVG as the plots need: a page that is readable on light and dark screens, text, lines, marks,
  and axes that grow by factors. Coordinates are pixels from the upper left corner.
  """

  # Light and dark of each: what the classes below are called by.
  @colors %{
    "page" => {"#ffffff", "#0d1117"},
    "ink" => {"#1f2328", "#f0f6fc"},
    "soft" => {"#59636e", "#9198a1"},
    "grid" => {"#d1d9e0", "#30363d"},
    "blue" => {"#0969da", "#58a6ff"},
    "teal" => {"#1b7c83", "#39c5cf"},
    "orange" => {"#bc4c00", "#f0883e"},
    "pink" => {"#bf3989", "#f778ba"},
    "green" => {"#1a7f37", "#3fb950"},
    "violet" => {"#8250df", "#bc8cff"}
  }

  @doc "A whole document."
  def document(width, height, title, about, parts) do
    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 #{width} #{height}" width="#{width}" height="#{height}" role="img">
    <title>#{escape(title)}</title>
    <desc>#{escape(about)}</desc>
    <style>
    text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
    .head { font-size: 16px; font-weight: 600; }
    .small { font-size: 12px; }
    .strong { font-weight: 600; }
    #{style(0)}
    @media (prefers-color-scheme: dark) {
    #{style(1)}
    }
    </style>
    <rect class="page" width="#{width}" height="#{height}" rx="6"/>
    #{text(20, 28, title, "ink head")}
    #{text(20, 48, about, "soft small")}
    #{parts |> List.flatten() |> Enum.join("\n")}
    </svg>
    """
  end

  # The page's own comes last: what is open shows it, whatever its line is.
  defp style(which) do
    for {name, pair} <- Enum.sort_by(@colors, fn {name, _} -> {name == "page", name} end) do
      color = elem(pair, which)
      ".#{name} { fill: #{color}; } .#{name}-line { stroke: #{color}; fill: none; }"
    end
    |> Enum.join("\n")
  end

  @doc "Text whose baseline begins at a point; `anchor:` may be `middle` or `end`."
  def text(x, y, text, class, options \\ []) do
    anchor = if options[:anchor], do: ~s( text-anchor="#{options[:anchor]}"), else: ""
    ~s(<text x="#{px(x)}" y="#{px(y)}" class="#{class}"#{anchor}>#{escape(text)}</text>)
  end

  @doc "A line through points; `width:` and `dash:` are those of SVG."
  def line(points, class, options \\ []) do
    path = Enum.map_join(points, " ", fn {x, y} -> "#{px(x)},#{px(y)}" end)
    dash = if options[:dash], do: ~s( stroke-dasharray="#{options[:dash]}"), else: ""
    width = options[:width] || 1

    ~s(<polyline points="#{path}" class="#{class}-line" stroke-width="#{width}" stroke-linejoin="round"#{dash}/>)
  end

  @doc "A filled box with slightly round corners."
  def box(x, y, width, height, class) do
    ~s(<rect x="#{px(x)}" y="#{px(y)}" width="#{px(width)}" height="#{px(height)}" rx="1.5" class="#{class}"/>)
  end

  @doc "A filled dot, or with `:ring` an open one."
  def dot(x, y, radius, class, kind \\ :full)

  def dot(x, y, radius, class, :full),
    do: ~s(<circle cx="#{px(x)}" cy="#{px(y)}" r="#{radius}" class="#{class}"/>)

  def dot(x, y, radius, class, :ring),
    do:
      ~s(<circle cx="#{px(x)}" cy="#{px(y)}" r="#{radius}" class="page #{class}-line" style="fill-opacity:1" stroke-width="1.8"/>)

  @doc """
  An axis that grows by factors: `{least, most, from, to}`, values and the pixels that they stand at. It
  holds all the values given, and reaches to the next round number on either side.
  """
  def axis(values, from, to) do
    {least, most} = Enum.min_max(values, fn -> {1, 10} end)
    most = max(most, least * 1.01)

    {List.last(Enum.filter(steps(), &(&1 <= least))) || hd(steps()),
     Enum.find(steps(), &(&1 >= most)), from, to}
  end

  defp steps, do: for(power <- -3..9, step <- [1, 2, 5], do: step * :math.pow(10, power))

  @doc "Where a value stands on an axis."
  def at({least, most, from, to}, value) do
    from + (to - from) * :math.log(value / least) / :math.log(most / least)
  end

  @doc "The round numbers on an axis: all of 1, 2, 5, or where they would be many, the powers of ten."
  def ticks({least, most, _, _}) do
    all = Enum.filter(steps(), &(&1 >= least * 0.999 and &1 <= most * 1.001))
    if length(all) > 8, do: Enum.filter(all, &power_of_ten?/1), else: all
  end

  defp power_of_ten?(value) do
    exponent = :math.log10(value)
    abs(exponent - round(exponent)) < 1.0e-9
  end

  @doc "A number as short as an axis wants it."
  def number(value) when value >= 999_500, do: "#{trim(value / 1_000_000)} M"
  def number(value) when value >= 9_995, do: "#{round(value / 1000)} k"
  def number(value) when value >= 999.5, do: "#{trim(value / 1000)} k"
  def number(value) when value >= 10, do: "#{round(value)}"
  def number(value), do: trim(value)

  defp trim(value), do: value |> Bench.Data.decimals(1) |> String.replace_suffix(".0", "")

  defp px(number), do: number |> Bench.Data.decimals(1) |> String.replace_suffix(".0", "")

  @doc "Text as XML wants it."
  def escape(text) do
    text
    |> String.replace("&", "&amp;")
    |> String.replace("<", "&lt;")
    |> String.replace(">", "&gt;")
  end
end
