defmodule Krait.StatusPageTest do
  # The page that a node shows by HTTP, in a headless Chromium: on a desk and on a phone, by day and by night.
  # `KRAIT_PICTURES=1 mix test test/status_page_test.exs` writes docs/images/status-*.png anew.
  use Krait.Case, async: true
  alias Krait.{Browser, Http}

  @pictures Path.expand("../../docs/images", __DIR__)
  @pool "#pools section"

  # What a worker of a real application would do, in short.
  @shop """
  import random, sys, time

  def predict(i):
      time.sleep(random.uniform(0.02, 0.3))
      return {"item": i, "score": random.random()}

  def rank(items):
      time.sleep(random.uniform(1.5, 4))
      return sorted(items)

  def load(name):
      print(f"loading {name}", file=sys.stderr)
      return {"name": name}["weights"]
  """

  setup do
    shop = Path.join(System.tmp_dir!(), "krait_shop_#{System.unique_integer([:positive])}")
    File.mkdir_p!(Path.join(shop, "shop"))
    File.write!(Path.join(shop, "shop/__init__.py"), "")
    File.write!(Path.join(shop, "shop/models.py"), @shop)
    on_exit(fn -> File.rm_rf!(shop) end)
    {:ok, shop: shop}
  end

  defp page(options) do
    node = start_node([metrics: "127.0.0.1:0"] ++ options)
    browser = Browser.start()
    Browser.window(browser, 1280, 900)
    Browser.open(browser, Http.url(node))
    Browser.await(browser, "document.querySelector('#{@pool} .tile')")
    {node, browser}
  end

  defp text(browser, selector),
    do: Browser.eval(browser, "document.querySelector('#{selector}').innerText")

  defp callers(node, n, request) do
    for _ <- 1..n, do: spawn_link(fn -> call_on(node, request) end)
  end

  defp call_on(node, request) do
    ask(node, request.(), 60_000)
    call_on(node, request)
  end

  test "it shows the node as it is", %{shop: shop} do
    {node, browser} =
      page(size: 8, pythonpath: [shop], name: :"shop@127.0.0.1", preload: ["shop.models"])

    load(node)

    for {width, height, name} <- [{1280, 1100, "desk"}, {390, 1700, "phone"}],
        dark <- [false, true] do
      Browser.window(browser, width, height, dark: dark, mobile: width < 500)
      Process.sleep(String.to_integer(System.get_env("WAIT", "12000")))
      Browser.eval(browser, "scrollTo(0, 0)")
      Browser.screenshot(browser, Path.join(@pictures, "status-#{name}#{if dark, do: "-dark"}.png"))
    end

    IO.puts(text(browser, "body"))
    assert Browser.complaints(browser) == []
  end

  defp load(node) do
    callers(node, 5, fn -> {:call, "shop.models", "predict", [1]} end)
    callers(node, 2, fn -> {:call, "shop.models", "rank", [[3, 1, 2]]} end)

    callers(node, 3, fn ->
      Process.sleep(700)
      {:call, "shop.models", "load", ["fruit"]}
    end)

    lease!(node)
  end
end
