defmodule Krait.StatusPageTest do
  # The page that a node shows by HTTP, in a headless Chromium: on a desk and on a phone, by day and by night.
  #
  #     KRAIT_PICTURES=1 mix test test/status_page_test.exs --only pictures     docs/images/status-*.png anew
  use Krait.Case, async: true
  alias Krait.{Browser, Http}

  setup_all do
    {:ok, browser: start_supervised!(Browser)}
  end

  setup %{browser: browser} do
    # what the test before looked at is gone, and its page would say so
    Browser.open(browser, "about:blank")
    Browser.complaints(browser)
    Browser.window(browser, 1280, 900)
    :ok
  end

  defp open(browser, node) do
    Browser.open(browser, Http.url(node))
    Browser.await(browser, "document.querySelector('.tile')")
  end

  defp start(options), do: start_node(Keyword.merge([metrics: "127.0.0.1:0"], options))

  # What the page says at a selector.
  defp text(browser, selector),
    do: Browser.eval(browser, "document.querySelector(#{inspect(selector)}).innerText")

  # Waits until the page says so, where it can be seen.
  defp await_text(browser, selector, text) do
    Browser.await(browser, """
    [document.querySelector(#{inspect(selector)})].every(e => e.checkVisibility() && e.innerText.includes(#{inspect(text)}))
    """)
  end

  defp await_no_complaint(browser), do: assert(Browser.complaints(browser) == [])

  test "it shows the node, its workers and what they run", %{browser: browser} do
    node = start(size: 3)
    lease!(node)
    caller(:busy, node, {:call, "krait_faults", "slow", [30]})
    await_running(node, 1)
    open(browser, node)
    assert text(browser, "#node") == to_string(node.name)
    assert text(browser, "#state") == "ready"
    assert text(browser, "section h2") == "default"
    assert text(browser, ".legend") =~ ~r/I\s+idle\s+1\s+B\s+busy\s+1\s+L\s+leased\s+1/
    assert text(browser, ".tile.busy") =~ ~r/^B\s+\d\s+busy\s.*\skrait_faults.slow\s+pid \d+/s
    assert text(browser, ".tile.leased") =~ "held by a lease"
    {:ok, 1} = py(node, "1")
    {:error, _} = py(node, "1 / 0")
    await_text(browser, "tbody", "python")
    assert text(browser, "tbody") =~ ~r/ok\s+2\s+1\npython\s+1\s+1/
    await_text(browser, ".chart .keys", "errors")
    assert Browser.eval(browser, "document.title") == to_string(node.name)
    await_no_complaint(browser)
  end

  test "it fits into every window, and nothing is cut off", %{browser: browser} do
    node = start(size: 5)

    {:error, _} =
      py(node, "print('x' * 500) or undefined_with_a_long_name_#{String.duplicate("x", 200)}")

    caller(:busy, node, {:call, "multiprocessing.connection", "time.sleep", [30]})
    await_running(node, 1)

    for width <- [320, 390, 768, 1280, 1920] do
      Browser.window(browser, width, 800, mobile: width < 500)
      open(browser, node)

      assert {width, Browser.eval(browser, "document.documentElement.scrollWidth")} ==
               {width, "#{width}"}
    end

    Browser.window(browser, 390, 800, mobile: true)

    assert String.to_integer(
             Browser.eval(browser, "Math.round(document.querySelector('.tile').offsetWidth)")
           ) > 140

    await_no_complaint(browser)
  end

  # The contrast of each text with what is behind it, as WCAG 2 counts it; AA is 4.5.
  @contrast """
  (() => {
    const parse = c => c.match(/[\\d.]+/g).map(Number)
    const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
    const behind = e => { for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c } return [255, 255, 255] }
    const bad = []
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walk.nextNode()) {
      const e = walk.currentNode.parentElement
      if (!walk.currentNode.data.trim() || e.closest('script, style, noscript') || !e.checkVisibility()) continue
      const opacity = (e.closest('.none') ? Number(getComputedStyle(e.closest('.none')).opacity) : 1)
      const back = behind(e), front = parse(getComputedStyle(e).color).map((v, i) => v * opacity + back[i] * (1 - opacity))
      const [a, b] = [light(front), light(back)].sort((x, y) => y - x)
      if ((a + .05) / (b + .05) < 4.5) bad.push(`${walk.currentNode.data.trim().slice(0, 30)} ${((a + .05) / (b + .05)).toFixed(2)}`)
    }
    return bad.join('\\n')
  })()
  """

  for dark <- [false, true] do
    test "every text is legible #{if dark, do: "in the dark", else: "by day"}", %{browser: browser} do
      node = start(size: 3)
      lease!(node)
      caller(:busy, node, eval(sleep(30)))
      {:error, _} = py(node, "1 / 0")
      await_running(node, 1)
      Browser.window(browser, 1280, 900, dark: unquote(dark))
      open(browser, node)
      page = Browser.eval(browser, "getComputedStyle(document.body).backgroundColor")
      assert page =~ if(unquote(dark), do: ~r/^rgb\((\d\d?), /, else: ~r/^rgb\(2\d\d, /)

      Browser.eval(
        browser,
        "document.querySelector('.tile').click(); document.querySelector('details').open = true"
      )

      assert Browser.eval(browser, @contrast) == ""
      # the states that are hard to catch
      for state <- ~w(idle starting probing stopping) do
        Browser.eval(
          browser,
          "document.querySelectorAll('.tile').forEach(t => t.className = 'tile #{state}')"
        )

        assert Browser.eval(browser, @contrast) == ""
      end

      for kind <- ~w(mind bad), do: pill_is_legible(browser, kind)
      await_no_complaint(browser)
    end
  end

  defp pill_is_legible(browser, kind) do
    Browser.eval(browser, """
    clearTimeout(timer), document.querySelectorAll('.pill').forEach(p => p.className = 'pill #{kind}'),
    document.querySelectorAll('#gone, .note').forEach(n => { n.hidden = false; n.textContent = 'text' })
    """)

    assert Browser.eval(browser, @contrast) == ""
  end

  test "what workers, callers and code say is text, whatever it is", %{browser: browser} do
    node = start(size: 1)
    open(browser, node)
    hostile = "</span><img src=x onerror='window.hacked=1'><script>window.hacked=1</script>&amp;"
    {:ok, _} = ask(node, {:call, "krait_faults", "print_", [hostile, "stderr"]})
    {:error, {:python, _}} = ask(node, {:call, "krait_faults", "raise_", ["ValueError", hostile]})
    {:error, {:no_function, _, _}} = ask(node, {:call, "krait_faults", hostile, []})
    caller(:busy, node, {:call, "krait_faults", "slow", [30]})
    await_text(browser, "#log", hostile)
    Browser.eval(browser, "document.querySelector('details').open = true")
    await_text(browser, "details pre", "ValueError: " <> hostile)

    assert Browser.eval(
             browser,
             "[typeof hacked, document.images.length, document.scripts.length].join()"
           ) == "undefined,0,1"

    await_no_complaint(browser)
    # even if it ever were more than text, the policy would not run it
    Browser.eval(
      browser,
      "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hacked = 1' }))"
    )

    assert Browser.eval(browser, "typeof hacked") == "undefined"
    assert [complaint] = Browser.complaints(browser)
    assert complaint =~ "Content Security Policy"
  end

  test "failures are kept with their tracebacks; an open one stays open", %{browser: browser} do
    node = start(size: 1)
    open(browser, node)
    assert text(browser, ".two") =~ "None."
    {:error, {:python, _}} = py(node, "1 / 0")
    await_text(browser, "summary", "raised in builtins.eval: ZeroDivisionError: division by zero")
    Browser.eval(browser, "document.querySelector('summary').click()")
    await_text(browser, "details[open] pre", "Traceback (most recent call last):")
    {:error, {:python, _}} = py(node, "1 / 0")
    await_text(browser, "details[open] summary", "(2 times)")

    {:error, {:worker_exit, _}} =
      py(node, "print('last words', file=__import__('sys').stderr) or __import__('os')._exit(3)")

    await_text(
      browser,
      "details:not([open]) summary",
      "worker ended in builtins.eval: ended with status 3"
    )

    assert text(browser, "details[open] pre") =~ "ZeroDivisionError"
    await_no_complaint(browser)
  end

  test "it says when the node goes away, and goes on when it returns", %{browser: browser} do
    # It comes back at the same port, which nobody takes meanwhile.
    port = Krait.Ports.free()
    node = start(size: 1, metrics: "127.0.0.1:#{port}")
    open(browser, node)
    name = node.name
    stop_supervised!(name)
    await_text(browser, "#state", "no answer")

    await_text(browser, "#gone", "(no connection)")

    assert text(browser, "#gone") =~
             ~r/^The node has not answered since \d\d:\d\d:\d\d \(no connection\)/

    assert text(browser, "#said") == "The node does not answer."
    assert Browser.eval(browser, "document.title") == "no answer: #{name}"
    assert text(browser, ".tile") =~ "idle"
    again = start(size: 2, metrics: "127.0.0.1:#{port}")
    await_text(browser, "#node", to_string(again.name))
    await_text(browser, "#state", "ready")
    await_text(browser, "#log", "the node has started again")
    await_text(browser, "#log", "#{again.name} listens on")

    assert Browser.eval(
             browser,
             "[$('gone').hidden, document.querySelectorAll('.tile').length].join()"
           ) == "true,2"

    assert Enum.all?(Browser.complaints(browser), &(&1 =~ "ERR_CONNECTION"))
  end

  test "a node that hangs is told from one that answers", %{browser: browser} do
    node = start(size: 1)
    open(browser, node)
    signal(node.os_pid, "STOP")
    await_text(browser, "#gone", "no answer within 4 s")
    signal(node.os_pid, "CONT")
    await_text(browser, "#state", "ready")
    refute text(browser, "#log") =~ "started again"
    await_no_complaint(browser)
  end

  test "changes are said to who listens, and only changes", %{browser: browser} do
    node = start(size: 1)
    open(browser, node)
    assert text(browser, "#said") == "#{node.name} is ready"
    assert Browser.eval(browser, "$('said').getAttribute('aria-live')") == "polite"
    :ok = ask(node, :pause)
    await_text(browser, "#said", "#{node.name} is not ready, pool default is paused")
    await_text(browser, "section .pill", "paused")
    :ok = ask(node, :resume)
    await_text(browser, "#said", "#{node.name} is ready")
    await_no_complaint(browser)
  end

  test "everything can be reached by keyboard, and is seen to be", %{browser: browser} do
    node = start(size: 2)
    open(browser, node)

    focus = fn ->
      Browser.eval(browser, "document.activeElement.id || document.activeElement.className")
    end

    Browser.press(browser, "Tab")
    assert focus.() == "skip"

    assert Browser.eval(browser, "document.activeElement.getBoundingClientRect().left >= 0") ==
             "true"

    Browser.press(browser, "Enter")
    Browser.press(browser, "Tab")
    assert focus.() =~ "tile"
    outline = "(s => s.outlineStyle + s.outlineWidth)(getComputedStyle(document.activeElement))"
    assert Browser.eval(browser, outline) == "solid3px"
    Browser.press(browser, "Enter")
    Browser.await(browser, "!document.querySelector('.detail').hidden")
    assert text(browser, ".detail") =~ ~r/Worker\s+0.*state\s+idle for/s
    assert Browser.eval(browser, "document.activeElement.getAttribute('aria-pressed')") == "true"

    for expected <- ["tile idle", "level", "filter", "log"] do
      Browser.press(browser, "Tab")
      assert focus.() == expected
    end

    await_no_complaint(browser)
  end

  test "the log can be searched", %{browser: browser} do
    node = start(size: 1)
    {:ok, _} = ask(node, {:call, "krait_faults", "print_", ["an apple"]})
    {:ok, _} = ask(node, {:call, "krait_faults", "print_", ["a pear"]})
    {:error, _} = py(node, "__import__('os')._exit(1)")
    open(browser, node)
    await_text(browser, "#log", "exited: status 1")

    shown = fn ->
      Browser.eval(
        browser,
        "[...log.children].filter(l => !l.hidden).map(l => l.innerText).join('|')"
      )
    end

    set = fn id, value ->
      Browser.eval(
        browser,
        "$('#{id}').value = '#{value}'; $('#{id}').dispatchEvent(new Event('#{if id == "level", do: "change", else: "input"}'))"
      )
    end

    set.("filter", "PEAR")
    assert shown.() =~ ~r/^[^|]*a pear$/
    set.("filter", "")
    set.("level", "1")
    assert shown.() =~ ~r/^[^|]*warning[^|]*exited: status 1$/
    await_no_complaint(browser)
  end

  test "a large pool is a lane of letters, each of which can be asked", %{browser: browser} do
    node = start(size: 49)
    open(browser, node)
    assert Browser.eval(browser, "document.querySelector('.lane').className") == "lane small"
    assert Browser.eval(browser, "document.querySelectorAll('.tile').length") == "49"

    assert Browser.eval(browser, "document.querySelector('.tile').getAttribute('aria-label')") ==
             "worker 0, idle"

    Browser.eval(browser, "document.querySelectorAll('.tile')[48].click()")
    assert text(browser, ".detail") =~ ~r/Worker\s+48/
    await_no_complaint(browser)
  end

  test "several pools have their places, and can be gone to", %{browser: browser} do
    args = for pool <- ["fast", "slow"], arg <- ["--pool", pool, "--size", "1"], do: arg
    {_, url} = alone(args)
    Browser.open(browser, url)
    Browser.await(browser, "document.querySelectorAll('section .tile').length === 2")
    assert text(browser, "#nav") =~ ~r/fast\s+slow/
    Browser.eval(browser, "document.querySelectorAll('#nav a')[1].click()")
    assert Browser.eval(browser, "document.querySelector(':target').textContent") == "slow"
    await_no_complaint(browser)
  end

  # A node as the shell starts it, since the library knows one pool only.
  defp alone(args) do
    name = to_string(unique_name())
    bin = System.get_env("KRAIT_BIN") || Path.join(:code.priv_dir(:krait), "krait")

    args =
      ["--name", name, "--metrics", "127.0.0.1:0", "--stop-on-eof", "--python", TestNode.python()] ++
        args

    options = [
      :binary,
      :stderr_to_stdout,
      line: 4096,
      args: args,
      env: [{~c"KRAIT_COOKIE", ~c"a cookie"}]
    ]

    port = Port.open({:spawn_executable, bin}, options)

    assert_receive {^port, {:data, {:eol, line}}}
                   when binary_part(line, 24, 16) == " info [metrics] ",
                   20_000

    [_, url] = Regex.run(~r"(http://.*)$", line)
    assert_receive {^port, {:data, {:eol, "ready " <> _}}}, 20_000
    {port, url}
  end

  # ---- for the README ----

  if System.get_env("KRAIT_PICTURES") do
    @pictures Path.expand("../../docs/images", __DIR__)

    @shop """
    import random, sys, time

    def predict(item):
        time.sleep(random.uniform(0.02, 0.3))
        return {"item": item, "score": random.random()}

    def rank(items):
        time.sleep(random.uniform(1.5, 4))
        return sorted(items)

    def load(name):
        print(f"loading {name}", file=sys.stderr)
        return {"name": name}["weights"]
    """

    @tag :pictures
    @tag timeout: 600_000
    test "its pictures", %{browser: browser} do
      shop = temporary("shop")
      File.mkdir_p!(Path.join(shop, "shop"))
      File.write!(Path.join(shop, "shop/models.py"), @shop)
      on_exit(fn -> File.rm_rf!(shop) end)

      node =
        start(
          size: 10,
          pythonpath: [shop],
          preload: ["shop.models"],
          name: :"shop@127.0.0.1",
          log_level: :info
        )

      open(browser, node)

      for _ <- 1..3,
          do:
            spawn_link(fn -> forever(node, fn -> {:call, "shop.models", "predict", [1]} end, 20) end)

      for _ <- 1..2,
          do:
            spawn_link(fn ->
              forever(node, fn -> {:call, "shop.models", "rank", [[2, 1]]} end, 900)
            end)

      spawn_link(fn -> forever(node, fn -> {:call, "shop.models", "load", ["prices"]} end, 3000) end)

      spawn_link(fn ->
        forever(
          node,
          fn -> {:batch, List.duplicate({"shop.models", "predict", [1]}, 25)} end,
          12_000
        )
      end)

      spawn_link(fn -> bursts(node) end)
      lease!(node)
      Process.sleep(82_000)

      py(node, "__import__('os')._exit(9)")

      for {width, height, name} <- [{1280, 1060, "desk"}, {390, 1500, "phone"}],
          dark <- [false, true] do
        Browser.window(browser, width, height, dark: dark, mobile: width < 500)
        Browser.eval(browser, "new Promise(done => setTimeout(done, 2500))")

        Browser.screenshot(
          browser,
          Path.join(@pictures, "status-#{name}#{if dark, do: "-dark"}.png")
        )
      end

      await_no_complaint(browser)
    end

    defp bursts(node) do
      for _ <- 1..20, do: caller(:burst, node, {:call, "shop.models", "predict", [1]})
      Process.sleep(9_000)
      bursts(node)
    end

    defp forever(node, request, pause) do
      ask(node, request.(), 60_000)
      Process.sleep(:rand.uniform(pause))
      forever(node, request, pause)
    end
  end
end
