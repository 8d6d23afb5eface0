"""Which words of a document are prose: a table of traps for each format."""

import pytest
from documents_making import free, only, words

PLAIN = {
    "One two, three.": "One two three",
    "see http://x.org/a-b?c=d,e and https://y.org.": "see and",
    "(ftp://x.org/a) www.x.org/a-b example.org, ok": "ok",
    "mail first.last+tag@mail.x.org now": "mail now",
    "open /usr/share/my-file or ~/notes or ./run or C:\\My\\file.txt": "open or or or",
    "\\\\server\\share and src/main.py and @handle": "and and",
    "file report.pdf, module a.b_c, name snake_case": "file module name",
    "Don't stop. Next": "Don t stop Next",
    "éhttp://x.org": "é",
    "Naïve Übung слово 漢字": "Naïve Übung слово 漢字",
    "": "",
    "123 -- !": "",
}

MARKDOWN = {
    "---\ntitle: no\n---\nyes": "yes",
    "+++\ntitle = 'no'\n+++\nyes": "yes",
    "---\nno end of front matter": "no end of front matter",
    "# One two #\n\nthree\n=====\n": "One two three",
    "a `no` b ``no ` no`` c": "a b c",
    "tick ` alone": "tick alone",
    "a `one\n\ntwo` b": "a one two b",
    "\\`yes\\` `no\\` yes": "yes yes",
    "```py\nno\n\nno\n```\nyes": "yes",
    "~~~\nno\n```\nno\n~~~\nyes": "yes",
    "````\n```\nno\n```\nno\n````\nyes": "yes",
    "```\nno end": "",
    "> ```\n> no\n> ```\n> yes": "yes",
    "- ```\n  no\n  ```\n- yes": "yes",
    "yes\n\n    no\n\n    no\n\nyes": "yes yes",
    "yes\n    lazy": "yes lazy",
    "\tno": "",
    "- item\n\n    more\n\n      no": "item more",
    "1. item\n\n   more\n\n       no\n\nyes\n\n    no": "item more yes",
    "* a\n    * b\n        * c": "a b c",
    '[text](http://x.org "no") ![alt](no.png) <http://no.org> <no@no.org>': "text alt",
    "[a](<no no> 'no') [b](no(no)no) [c](no": "a b c",
    '[text][no] [no] x\n\n[no]: <no> "no"\n[other]:\n  no.html\n': "text x",
    "[no]: x\n  'title'\nyes": "yes",
    "[text] stays": "text stays",
    "word[^1] end\n\n[^1]: Note.": "word end Note",
    "as [see @key, p. 3] and @key say": "as and say",
    "costs $5 and $6 but $x + y$ and $$\nno\n$$ and \\(no\\) and \\\\[no\\\\]": "costs and but and and and",
    "one | two\n--- | :---:\nthree | `no`": "one two three",
    "a **b** _c_ ~~d~~ ==e== ***f***": "a b c d e f",
    "<b class='no'>yes</b> <!-- no\n\nno --> yes <img\nalt='no'>": "yes yes",
    "`<!--` yes `-->`": "yes",
    "<pre>\nno\n\nno\n</pre>\n\nyes <code>no</code>": "yes",
    "a < b and a<b": "a b and a b",
    '<a title="no < no">no\n\nyes': "yes",
    '## Title {#no .no}\n\n::: no\n!!! note "no"\n    yes\n\n[[no]] {{ no }} {% no %}': "Title yes",
    "- [x] done\n- [ ] open\n> [!NOTE]\n> yes": "done open yes",
    "AT&amp;T": "AT T",
    "a\r\n\r\n    no\r\n\r\nb": "a b",
    "a\r\r    no\r\rb": "a b",
}

HTML = {
    "<!DOCTYPE html [<!ENTITY no 'no'>]><title>A b</title><p title=\"no\">c</p>": "A b c",
    "<style>no</style><script>if (a < no) '<b>'</script>yes": "yes",
    "<SCRIPT>no</SCRIPT >yes<textarea>no <b></textarea>yes": "yes yes",
    "<pre>no <b>no</b></pre>a<code>no<code>no</code>no</code> b <kbd>no</kbd><var>no</var>": "a b",
    "<math><mi>no</mi></math><svg><text>no</text></svg> yes <svg/> yes": "yes yes",
    "<p translate=no>no<p>no</p></p>yes": "yes",
    "<p class=\"a notranslate b\">no</p><p class='translate'>yes<br class=notranslate>yes": "yes yes",
    "<!-- no --> a <!--> b <!---> c <!-- no --!> d <!-- no": "a b c d",
    "<?php no ?> a <!no> b </no> c </ no> d <![CDATA[no > no]]> e": "a b c d e",
    "<a href='no>no' title=no>yes</a> 3 < 4 <5 x": "yes x",
    '<a href="no>yes': "",
    "&lt;yes&gt; &eacute;n &#233;n &copy yes &nosuch; R&D": "yes n n yes R",
    "<ul><li>one<li>two</ul><td>three<td>four": "one two three four",
    "<custom-tag>yes</custom-tag><noscript>yes": "yes yes",
    "<script>no": "",
    "<code>no": "",
    "see http://x.org/?a=b&amp;no-no=c, yes": "see yes",
}

XHTML = {"<p>a <code/>b <script src='x'/>c</p>": "a b c", "<![CDATA[no]]><script>no</script>yes": "yes"}

LATEX = {
    "\\documentclass{no}\\title{no}\n% \\begin{document}\n\\begin{document}yes\\end{document}no": "yes",
    "a % no\nb \\% c": "a b c",
    "\\section*{A} \\section[no]{B \\emph{c}} \\caption{D}\\footnote{E}": "A B c D E",
    "a $no$ b $$no$$ c \\(no\\) d \\[no\\] e \\$5 f": "a b c d e f",
    "$no\\$no$ yes": "yes",
    "5$ no end\n\nyes": "yes",
    "\\begin{align*}no\\text{no}\\end{align*}a\\begin{equation}no\\end{equation} b": "a b",
    "\\begin{verbatim}no \\emph{no}\\end{verbatim}\\begin{lstlisting}[no]no\\end{lstlisting}yes": "yes",
    "\\begin{tikzpicture}no\\end{tikzpicture}\\begin{tabular}{lp{no}}a & b \\\\[no] c\\end{tabular}": "a b c",
    "\\begin{verbatim}no": "",
    "\\verb|no $| a \\verb+no+ b \\lstinline[no]!no! c \\lstinline{no} d": "a b c d",
    "as \\citep[no][p. 2]{no,no} in~\\ref{no}\\label{no}, \\cite\n{no} \\cref{no}": "as in",
    "\\url{http://no.org/%20no} a \\href{http://no.org/no%20}{text} \\includegraphics[no]{no}": "a text",
    "\\input{no} \\input no \\bibliography{no} \\bibliographystyle{no} yes": "yes",
    "\\textcolor{no}{a} \\multicolumn{2}{no}{b} \\parbox{no}{c} \\unknown{no {no}}[no]{no} d": "a b c d",
    "\\newcommand{\\no}[1]{no #1} \\def\\no#1{no} \\hypersetup{no=no} yes": "yes",
    "\\begin{itemize}[no]\\item one \\item[no] two\\end{itemize}": "one two",
    "{\\bf bold} ``quoted'' text--dash": "bold quoted text dash",
    "\\emph{a {b} c} } d": "a b c d",
    "\\begin{comment}no\\end{comment}\\iffoo yes": "yes",
}

TABLES = {".txt": PLAIN, ".md": MARKDOWN, ".html": HTML, ".xhtml": XHTML, ".tex": LATEX}


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [(suffix, text, expected) for suffix, table in TABLES.items() for text, expected in table.items()],
)
def test_the_words_of_the_prose(suffix: str, text: str, expected: str) -> None:
    assert words("a" + suffix, text) == expected.split()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "exam\u00adple cafe\u0301 we\u200bb whole", "whole"),
        ("a.txt", "foo_bar whole http://x.org/a", "whole"),
        ("a.md", "un**believ**able **bold** `code`s whole snake_case _em_, k-`x` `x`-like", "bold whole em"),
        ("a.md", "<b>b</b>old **bold**, [link](x)s [link](x) '**quoted**'", "bold link quoted"),
        (
            "a.html",
            "exam&shy;ple caf&eacute; <b>b</b>old <i>it</i> don<b>'</b>t AT&amp;T a &amp; b",
            "it a b",
        ),
        ("a.html", "exam<!-- -->ple <var>n</var>th <var>n</var>-th one<br>two", "one two"),
        ("a.html", "&quot;Quoted&quot; dog<b>s</b>' <em>so</em>-called", "Quoted"),
        ("a.tex", 'caf\\\'e Stra\\ss e M\\"uller M"uller na\\"{\\i}ve \\o re $n$-th $n$th exam\\-ple', ""),
        (
            "a.tex",
            "un\\emph{believ}able \\emph{it} exam%\n  ple networks\\cite{a} whole",
            "it networks whole",
        ),
        ("a.tex", "fig~\\ref{x}a end\\footnote{Note.}", "fig end Note"),
    ],
)
def test_words_that_may_be_parts_of_words_touch_glue(name: str, text: str, expected: str) -> None:
    assert free(name, text) == expected.split()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "# Head\nText\n\nText `code`\n\n    no\n\n| a | b |"),
        ("a.html", "<h1>Head</h1>Text<p>Text</p><li>a<li>b"),
        ("a.tex", "\\section{Head}Text \\par Text\\item a & b"),
    ],
)
def test_blocks_are_apart(name: str, text: str) -> None:
    prose = only(name, text).prose
    assert [block.strip("# ").split()[0] for block in prose.split("\n") if block.strip(" \0")] == [
        "Head",
        "Text",
        "Text",
        "a",
        "b",
    ]
